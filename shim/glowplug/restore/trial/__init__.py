"""The trial of a fresh checkpoint: restored into a throw-away place, paused at the gate, and killed there.

Called by a capture before it publishes (capture/trial.py). It takes the steps of a restore, with runc and CRIU as a
restore has them, in a container that is known to nothing else:

    pod.py       network, IPC and UTS namespaces of its own: the pod's interfaces and addresses, leading nowhere
    place.py     a mount namespace of its own: the layer and what travels as a restore puts them; volumes that do not
                 travel as they are seen through an overlay, so that nothing done here reaches them
    steps.py     the steps, up to the checks at the gate. No process of the checkpoint ever runs
    __main__.py  the process that takes them

Large memory (the extents that a restore writes back at the gate) is not written, and devices of a GPU are not used:
what the driver says of a checkpoint is not tried. Whatever is killed, the attempt's directory names all that is left
(restore/attempt.py), and its undo removes it.
"""
