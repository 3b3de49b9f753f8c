"""Exclusive locks for a moment: one writer at a time, across threads and processes.

The lock files stay; the kernel drops a lock with its holder, so kill -9 leaves none behind. flock(2) has no
time limit of its own: the wait asks again until the lock is free or the time is up.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from glowplug.cache import layout
from glowplug.errors import CacheError

WAIT_S = 60.0  # seconds; longer than evicting a large checkpoint takes
_INTERVAL_S = 0.01


@contextmanager
def locked(path: str, wait_s: float = WAIT_S) -> Iterator[None]:
    """The lock of path inside the block. Raises CacheError when it was not free within wait_s seconds."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, layout.FILE_MODE)
    try:
        deadline = time.monotonic() + wait_s
        while not try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise CacheError(f"{path}: locked by another process for {wait_s:.0f} s; try again")
            time.sleep(_INTERVAL_S)
        yield
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Whether the exclusive lock could be had at once."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
