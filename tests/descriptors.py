"""What this process has open, to be the same before and after: counted by what it is, not by its number."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from integration.waiting import wait_until

WITHIN_S = 60.0


def opened() -> Counter[str]:
    """Descriptors by what they lead to, inode numbers included."""
    found: Counter[str] = Counter()
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own, or one that a thread has closed
            found[os.readlink(f"/proc/self/fd/{number}")] += 1
    return found


@contextmanager
def none_left() -> Iterator[None]:
    """Raises TimeoutError where something is open after the body that was not before it.

    Threads of earlier tests may open and close what is theirs meanwhile; what was left stays.
    """
    before = opened()
    yield
    wait_until(lambda: not opened() - before, WITHIN_S, "no descriptor left")
