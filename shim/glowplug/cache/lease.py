"""Leases: a checkpoint that somebody uses is never removed.

A lease is a shared flock on leases/<id>.lock; who removes a checkpoint needs the exclusive one. The kernel
drops it with the last descriptor, so neither the agent's death nor a reused pid breaks a lease, and nothing
has to be cleaned up after kill -9. The lock file goes with its checkpoint, under the exclusive lock; so who
gets a lock looks again whether the name still leads to the file that is locked (flock(2) locks the open file,
not the name).

Hot: the runtime imports this. Standard library only.
"""

import fcntl
import os
import time

from glowplug.cache import layout
from glowplug.errors import CacheError

PATIENCE_S = 0.25  # seconds; who only looks whether there is a lease holds the lock for a moment too
_INTERVAL_S = 0.002


def take(root: str, checkpoint_id: str) -> int:
    """A descriptor that keeps the checkpoint from being removed until it is closed; notes the use.

    It is not inherited over exec. Waits PATIENCE_S at most. Raises CacheError when the checkpoint is absent or is
    being removed, or when the lock file can't be opened.
    """
    directory = layout.checkpoint(root, checkpoint_id)
    if not os.path.isdir(directory):
        raise CacheError(f"no checkpoint {checkpoint_id} in {root}")
    descriptor = lock(root, checkpoint_id, fcntl.LOCK_SH)
    if descriptor is None:
        raise CacheError(f"checkpoint {checkpoint_id} is being removed")
    try:
        if not os.path.isdir(directory):
            raise CacheError(f"checkpoint {checkpoint_id} was removed a moment ago")
        os.utime(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def release(descriptor: int) -> None:
    """Ends a lease. So does the end of the process."""
    os.close(descriptor)


def lock(root: str, checkpoint_id: str, operation: int) -> int | None:
    """A descriptor of the checkpoint's lock file with the requested flock (LOCK_SH, LOCK_EX), or None.

    None: somebody else had one that excludes it, for longer than looking or removing takes. Makes the file
    where it is missing.
    """
    path = layout.lease(root, checkpoint_id)
    until = time.monotonic() + PATIENCE_S
    while True:
        descriptor = _open(path)
        locked = False
        try:
            locked = _try_lock(descriptor, operation) and is_linked(descriptor, path)
        finally:
            if not locked:
                os.close(descriptor)
        if locked:
            return descriptor
        if time.monotonic() >= until:
            return None
        time.sleep(_INTERVAL_S)


def is_leased(root: str, checkpoint_id: str) -> bool:
    """Whether somebody holds a lease at this moment, or is removing the checkpoint."""
    path = layout.lease(root, checkpoint_id)
    if not os.path.lexists(path):  # nobody ever took one
        return False
    descriptor = _open(path)
    try:
        return not _try_lock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def is_linked(descriptor: int, path: str) -> bool:
    """Whether path still names the open file, so that a lock on it is one that others meet."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, layout.FILE_MODE)
    except OSError as error:
        raise CacheError(f"lease: {error}") from error


def _try_lock(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
