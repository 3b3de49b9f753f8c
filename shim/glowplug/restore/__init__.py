"""A restore: `steps.py` is the list of steps; `attempt.py` the directory that says by place what is to be undone.

The steps run in a process of their own, which may be killed at any moment; then `take_back.py` undoes the attempt by
place, never from memory. The restored tree is paused at a gate until it is healthy (`at_gate/`). Runs at each start:
standard library only.
"""
