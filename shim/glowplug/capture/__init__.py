"""A capture: `pipeline.py` is the list of steps, each a function of what the steps before it found.

What can't be captured is refused before anything is touched (`preflight/`); once the container is paused, a guard
process resumes it should we die (`guard.py`). CUDA is never locked in a frozen cgroup. `identity.py` makes the workload
key of a container that runs, `policy.py` reads what its pod's annotations ask for.
"""
