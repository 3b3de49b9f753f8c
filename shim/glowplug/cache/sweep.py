"""What a killed writer leaves, taken away: dead drafts, half-deleted checkpoints, what was beside them."""

import fcntl
import os
import secrets
from contextlib import suppress

from glowplug.cache import disk, draft, layout, lease


def drafts(root: str) -> list[str]:
    """Puts drafts whose writer is dead into the trash; their names. Take the store's lock first. Raises OSError."""
    dead = []
    for name in sorted(draft.names(root)):
        descriptor = draft.grab(root, name)
        if descriptor is None:
            continue
        try:
            if draft.is_kept(root, name):
                os.unlink(layout.draft_lock(root, name))
                continue
            if os.path.lexists(layout.draft(root, name)):
                to_trash(root, layout.draft(root, name))
                dead.append(name)
            os.unlink(layout.draft_lock(root, name))
        finally:
            os.close(descriptor)
    return dead


def orphans(root: str) -> list[str]:
    """Removes leases and states of checkpoints that are gone; their paths.

    Take the store's lock first. Raises OSError.
    """
    gone = []
    present = set(os.listdir(layout.checkpoints(root)))
    for name in sorted(os.listdir(layout.leases(root))):
        checkpoint_id = name.removesuffix(".lock")
        if checkpoint_id not in present and layout.is_id(checkpoint_id):
            descriptor = lease.lock(root, checkpoint_id, fcntl.LOCK_EX)
            if descriptor is not None:
                forget(root, checkpoint_id)
                os.close(descriptor)
                gone.append(layout.lease(root, checkpoint_id))
    for name in sorted(os.listdir(layout.states(root))):
        checkpoint_id = name.partition(".")[0]
        if checkpoint_id not in present and layout.is_id(checkpoint_id):
            os.unlink(f"{layout.states(root)}/{name}")
            gone.append(f"{layout.states(root)}/{name}")
    return gone


def forget(root: str, checkpoint_id: str) -> None:
    """Removes what is beside a checkpoint that is gone. Take its exclusive lease first: it goes last."""
    for path in (layout.state(root, checkpoint_id), layout.lease(root, checkpoint_id)):
        with suppress(FileNotFoundError):
            os.unlink(path)


def to_trash(root: str, directory: str) -> str:
    """Takes a directory out of its place, in one step, to be deleted; its new path. Raises OSError."""
    target = layout.trashed(root, f"{os.path.basename(directory)}.{secrets.token_hex(4)}")
    os.rename(directory, target)
    disk.sync(os.path.dirname(directory))
    disk.sync(layout.trash(root))
    return target


def empty_trash(root: str) -> list[str]:
    """Deletes what is in the trash, a line for each thing. Several may do so at once.

    What can't be deleted stays and is said: it must not keep new checkpoints out. Raises OSError when the trash
    can't be listed.
    """
    said = []
    for name in sorted(os.listdir(layout.trash(root))):
        try:
            disk.delete(layout.trashed(root, name))
            said.append(f"trash {name}")
        except OSError as error:
            said.append(f"trash {name} can't be deleted: {error}")
    return said
