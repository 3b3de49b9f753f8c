"""Putting a new directory in another's place in one step, and taking it back after any interruption.

The new directory is built beside the old one, on the same file system, and the two change names
(RENAME_EXCHANGE). So the old directory is never written to: whatever happens, it is intact, and undoing is
changing names back. Overlayfs finds its upper directory by path, and without an index remembers no inode of
it, so an exchanged upper directory mounts as before.

The directory beside bears the old one's name and SUFFIX. Beside an upper directory that is containerd's
directory of this one snapshot, which goes with the snapshot, all at once (it removes the tree, and counts
usage below `fs` alone): nothing outlives the container even if nobody undoes anything.

A record, written completely before the first change, names the old directory's inode. At every moment the record
and the inode say which of both directories is the old one; no step needs to be noted when it is done.
"""

from __future__ import annotations

import os

from glowplug.errors import LayerError
from glowplug.layer import descent, undo_record
from glowplug.layer.syscalls import AT_FDCWD, RENAME_EXCHANGE, renameat2

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Callable

    Build = Callable[[str], None]

SUFFIX = ".glowplug"


def replace(directory: str, record: str, build: Build) -> None:
    """Let `build(path)` fill a new empty directory, then put that in the place of `directory`.

    record: path of the undo record. On any failure everything is as before. OSError where the file system
    refuses.
    """
    directory = os.path.realpath(directory)
    beside = directory + SUFFIX
    if os.path.lexists(beside):
        raise LayerError(f"{beside} is there: an earlier replacement of {directory} was not finished")
    undo_record.write(record, {"directory": directory, "inode": _inode(directory)})
    done = False
    try:
        os.mkdir(beside, 0o700)
        build(beside)
        renameat2(AT_FDCWD, beside, AT_FDCWD, directory, RENAME_EXCHANGE)
        done = True
    finally:
        if not done:
            undo(record)


def undo(record: str) -> None:
    """Bring back the directory that `replace` was called for. Again, or without a record: nothing to do."""
    original = undo_record.read(record)
    if original is not None:
        directory = original["directory"]
        beside = directory + SUFFIX
        if _inode(beside) == original["inode"]:
            renameat2(AT_FDCWD, beside, AT_FDCWD, directory, RENAME_EXCHANGE)
        descent.remove(beside)
    undo_record.forget(record)


def finish(record: str) -> None:
    """Keep the new directory for good and remove the old one.

    The record goes first: cut short, no later undo may bring back half of the old directory.
    """
    original = undo_record.read(record)
    undo_record.forget(record)
    if original is not None and _inode(original["directory"] + SUFFIX) == original["inode"]:
        descent.remove(original["directory"] + SUFFIX)


def _inode(path: str) -> list[int] | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return [status.st_dev, status.st_ino]
