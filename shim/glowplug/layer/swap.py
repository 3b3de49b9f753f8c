"""Putting a new directory in another's place in one step, and taking it back after any interruption.

The new directory is built beside the old one, on the same file system, and the two change names
(RENAME_EXCHANGE). So the old directory is never written to: whatever happens, it is whole, and undoing is
changing names back. Overlayfs finds its upper directory by path, and without an index keeps no note of which
inode that was, so an exchanged upper directory mounts as before.

The directory beside bears the old one's name and SUFFIX. Beside an upper directory that is containerd's
directory of this one snapshot, which goes with the snapshot, all at once (it removes the tree, and counts
usage below `fs` alone): nothing outlives the container even if nobody undoes anything.

A record, written whole before the first change, names the old directory's inode. At every moment the record
and the inode tell which of both directories is the old one; no step needs to be noted when it is done.
"""

import json
import os
from collections.abc import Callable

from glowplug.errors import LayerError
from glowplug.layer import descent
from glowplug.layer.syscalls import AT_FDCWD, RENAME_EXCHANGE, renameat2

SUFFIX = ".glowplug"

_VERSION = 1


def replace(directory: str, record: str, build: Callable[[str], None]) -> None:
    """Let `build(path)` fill a new empty directory, then put that in the place of `directory`.

    On any failure everything is as before. OSError where the file system refuses.
    """
    directory = os.path.realpath(directory)
    beside = directory + SUFFIX
    if os.path.lexists(beside) or os.path.lexists(record):
        raise LayerError(
            f"{directory} has been replaced already, or a replacement was cut short: undo it first"
        )
    _write_record(directory, record)
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
    original = read_record(record)
    if original is not None:
        directory, inode = original
        beside = directory + SUFFIX
        if _inode(beside) == inode:
            renameat2(AT_FDCWD, beside, AT_FDCWD, directory, RENAME_EXCHANGE)
        descent.remove(beside)
    _forget(record)


def finish(record: str) -> None:
    """Keep the new directory for good and remove the old one. Cut short, it never leaves an undo half true."""
    original = read_record(record)
    _forget(record)
    if original is not None:
        directory, inode = original
        if _inode(directory + SUFFIX) == inode:
            descent.remove(directory + SUFFIX)


def read_record(record: str) -> tuple[str, list[int]] | None:
    """The directory that was replaced, and its device and inode; None when there is no record."""
    try:
        with open(record, encoding="ascii") as file:
            content = json.load(file)
        if content["version"] == _VERSION:
            return content["directory"], content["inode"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise LayerError(f"{record} is no undo record: {error}") from error
    raise LayerError(f"{record} has version {content['version']}, this Glowplug reads {_VERSION}")


def _write_record(directory: str, record: str) -> None:
    content = {"version": _VERSION, "directory": directory, "inode": _inode(directory)}
    if content["inode"] is None:
        raise LayerError(f"there is no directory {directory} to replace")
    with open(record + ".new", "w", encoding="ascii") as file:
        json.dump(content, file)
    os.rename(record + ".new", record)


def _forget(record: str) -> None:
    for path in (record, record + ".new"):
        if os.path.lexists(path):
            os.unlink(path)


def _inode(path: str) -> list[int] | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return [status.st_dev, status.st_ino]
