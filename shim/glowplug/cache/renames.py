"""The two steps that count: a draft becomes a checkpoint, a checkpoint becomes trash. A rename each.

Both need the store's lock.
"""

import fcntl
import os

from glowplug.cache import disk, layout, lease, locking, state, sweep
from glowplug.cache.draft import Draft
from glowplug.errors import CacheError


def commit(root: str, opened: Draft, checkpoint_id: str) -> None:
    """Publishes a draft that is complete and on the disk. Raises CacheError, OSError."""
    descriptor = lease.lock(root, checkpoint_id, fcntl.LOCK_SH)
    if descriptor is None:
        raise CacheError(f"checkpoint {checkpoint_id} is being removed; try again")
    try:
        os.utime(descriptor)
        disk.sync(layout.leases(root))
        os.rename(opened.path, layout.checkpoint(root, checkpoint_id))
        disk.sync(layout.checkpoints(root))
        disk.sync(layout.drafts(root))
    finally:
        os.close(descriptor)


def evict(root: str, checkpoint_id: str, spare_pinned: bool = False) -> str | None:
    """Where in the trash the checkpoint is now; None when it stays, being in use or pinned, or went before.

    Takes the states' lock too, for a pin set meanwhile counts. Raises CacheError, OSError.
    """
    descriptor = lease.lock(root, checkpoint_id, fcntl.LOCK_EX)
    if descriptor is None:
        return None
    try:
        with locking.locked(layout.state_lock(root)):
            if spare_pinned and state.read(root, checkpoint_id).pinned:
                return None
            trashed = None
            if os.path.isdir(layout.checkpoint(root, checkpoint_id)):
                trashed = sweep.to_trash(root, layout.checkpoint(root, checkpoint_id))
            sweep.forget(root, checkpoint_id)
            return trashed
    finally:
        os.close(descriptor)
