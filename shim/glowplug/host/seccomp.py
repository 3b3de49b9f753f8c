"""Whether the node's runc knows seccomp: one built without it refuses every spec that has a profile.

The agent looks once, when it starts, and leaves a note in the run directory; what edits a spec reads that. Without
a note runc knows it, as every distribution's does. HOT: the runtime imports this at every create.
"""

import os

from glowplug import paths


def note(is_known: bool) -> None:
    """Raises OSError."""
    os.makedirs(paths.RUN_DIR, 0o755, exist_ok=True)
    if not is_known:
        with open(paths.no_seccomp(), "w"):
            return
    try:  # contextlib costs a create half of all its imports
        os.unlink(paths.no_seccomp())
    except FileNotFoundError:
        return


def machine() -> str:
    """The machine to write rules of a profile for (uname's), for checkpoint/withheld.py; empty: none can be."""
    return "" if os.path.exists(paths.no_seccomp()) else os.uname().machine
