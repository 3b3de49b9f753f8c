"""A container's writable layer: captured from an overlay's upper directory, applied to another, undone.

The tree that a capture writes is a copy of the upper directory in overlay's own terms (see `replica`), so
that applying it is copying again; no archive format stands between. It is stored below a directory that only
root enters, for it holds setuid files and device nodes as they are.

An upper directory is applied to and undone while its overlay is unmounted. Its new content is built beside
it and put in its place at once (see `swap`); an undo record makes that safe against SIGKILL and a full disk.
What the upper directory had before (mount points made by others) is merged: it is copied first, and the
captured entry wins where both have one.

Durability (fsync, syncfs) is the caller's: all of a draft is synced before it is published.
"""

from __future__ import annotations

import os

from glowplug.errors import LayerError
from glowplug.layer import contents, descent, overlay, swap, undo_record
from glowplug.layer.descent import ENTER, LEAVE, Descent
from glowplug.layer.replica import Replica

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Iterable

_UUIDS = ("trusted.overlay.uuid", "user.overlay.uuid")


class Summary:
    """What a capture found: `entries` in the tree, `bytes` on disk, overlay `features` that it needs
    (overlay.METACOPY, overlay.REDIRECT), and the `fingerprint` that `apply` compares."""

    __slots__ = ("bytes", "entries", "features", "fingerprint")

    def __init__(self, replica: Replica) -> None:
        self.entries = replica.entries
        self.bytes = replica.bytes
        self.features = tuple(sorted(replica.features))
        self.fingerprint = replica.fingerprint


def capture(upper: str, dest: str) -> Summary:
    """Copy an upper directory whose container is frozen to the new directory `dest`.

    LayerError when it can't be copied completely; then there is no `dest`.
    """
    replica = Replica()
    done = False
    try:
        os.mkdir(dest, 0o700)
        try:
            with Descent(upper) as source, Descent(dest) as target:
                replica.copy(source, target)
            done = True
        finally:
            if not done:
                descent.remove(dest)
    except OSError as error:
        raise LayerError(f"can't copy the layer {upper}: {error}") from error
    return Summary(replica)


def apply(
    tree: str,
    upper: str,
    record: str,
    *,
    fingerprint: str | None = None,
    features: Iterable[str] = (),
    links: Iterable[tuple[str, str]] = (),
) -> None:
    """Put a captured tree into the upper directory of an unmounted overlay.

    record: path of the undo record, in a directory that exists; written before the first change.
    fingerprint: the capture's; a tree that has changed since is refused.
    features: the mount's (OverlayMount.features); a tree that needs another is refused.
    links: hard links to add, each (a name in the tree, the new name), both relative.
    On any failure (LayerError, or an exception from a signal handler) the upper directory is as before and
    the record is gone. After SIGKILL, `undo` with the record brings it back.
    """
    overlay.refuse_mounted(upper)

    def build(beside: str) -> None:
        replica = Replica()
        with Descent(beside) as target:
            with Descent(upper) as before:
                Replica().copy(before, target)
                _keep_identity(before.fd, target.fd)
            with Descent(tree) as source:
                replica.copy(source, target)
        refuse_damaged(replica, tree, fingerprint)
        _refuse_foreign(replica, tree, features)
        for name, new in links:
            descent.link(beside, name, new)

    try:
        swap.replace(upper, record, build)
    except OSError as error:
        raise LayerError(f"can't put the layer in place at {upper}: {error}") from error


def undo(record: str) -> None:
    """Bring back the upper directory as it was before `apply`; its overlay must be unmounted.

    Any number of times, after any interruption, also when containerd has removed the snapshot meanwhile.
    """
    try:
        original = undo_record.read(record)
        if original is not None:
            overlay.refuse_mounted(original["directory"])
        swap.undo(record)
    except OSError as error:
        raise LayerError(f"can't undo the layer of {record}: {error}") from error


def finish(record: str) -> None:
    """Keep the applied layer: remove the undo record and the upper directory that it replaced."""
    try:
        swap.finish(record)
    except OSError as error:
        raise LayerError(f"can't remove the replaced layer of {record}: {error}") from error


def size_of(tree: str) -> int:
    """Bytes that the tree takes on disk, each inode counted once; reads no file. OSError as it comes."""
    total = 0
    seen: set[tuple[int, int]] = set()
    with Descent(tree) as place:
        for step, _, status in descent.walk(place):
            if step == LEAVE:
                continue
            if step != ENTER and status.st_nlink > 1:
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
            total += contents.allocated(status)
    return total


def refuse_damaged(replica: Replica, tree: str, fingerprint: str | None) -> None:
    """LayerError when the tree that `replica` was made of is not the one that was captured."""
    if fingerprint is not None and replica.fingerprint != fingerprint:
        raise LayerError(
            f"the captured tree {tree} is damaged: its fingerprint is {replica.fingerprint}, "
            f"{fingerprint} was captured"
        )


def _refuse_foreign(replica: Replica, tree: str, features: Iterable[str]) -> None:
    missing = sorted(replica.features.difference(features))
    if missing:
        raise LayerError(f"the layer {tree} uses {missing}, which the new rootfs is not mounted with")


def _keep_identity(before_fd: int, after_fd: int) -> None:
    """An overlay's uuid is on its upper directory, and statfs(2) shows it: it is the new pod's own."""
    for name in _UUIDS:
        if name in os.listxattr(before_fd):
            os.setxattr(after_fd, name, os.getxattr(before_fd, name))
