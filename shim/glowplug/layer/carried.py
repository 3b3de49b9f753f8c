"""Plain host directories that a container carries: image volumes and emptyDirs, up to a stated size.

An emptyDir may be a mount point and is shared with the pod's other containers, so it is filled where it is,
and only while it is empty. The directory of an image volume belongs to one container and begins with the
image's files: it is replaced, by exchange (see `swap`).
"""

from __future__ import annotations

import os

from glowplug.errors import LayerError
from glowplug.layer import attributes, descent, swap, tree, undo_record
from glowplug.layer.descent import Descent
from glowplug.layer.replica import Replica

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Any


def capture(directory: str, dest: str, limit: int) -> tree.Summary:
    """Copy a directory whose users are frozen to the new directory `dest`.

    LayerError when it takes more than `limit` bytes on disk, or can't be copied completely; then there is no
    `dest`.
    """
    try:
        size = tree.size_of(directory)
    except OSError as error:
        raise LayerError(f"can't read the volume {directory}: {error}") from error
    if size > limit:
        raise LayerError(f"the volume {directory} takes {size} bytes, at most {limit} are carried")
    return tree.capture(directory, dest)


def apply(
    source: str,
    directory: str,
    record: str,
    *,
    replace: bool,
    fingerprint: str | None = None,
    links: Collection[tuple[str, str]] = (),
) -> None:
    """Put a captured directory's content and attributes into `directory`.

    record: path of the undo record. replace: put it in the place of what is there (image volume); otherwise
    `directory` must be empty. fingerprint: the capture's. links: as of tree.apply.
    On any failure (LayerError, or an exception from a signal handler) the directory is as before.
    """

    def build(path: str) -> None:
        replica = Replica()
        with Descent(source) as original, Descent(path) as target:
            replica.copy(original, target)
        tree.refuse_damaged(replica, source, fingerprint)
        for name, new in links:
            descent.link(path, name, new)

    try:
        if replace:
            swap.replace(directory, record, build)
        else:
            _fill(source, directory, record, build, [new for _, new in links])
    except OSError as error:
        raise LayerError(f"can't put the volume in place at {directory}: {error}") from error


def undo(record: str) -> None:
    """Bring back the directory as it was before `apply`. Any number of times, after any interruption."""
    try:
        content = undo_record.read(record)
        if content is None or "names" not in content:
            swap.undo(record)
            return
        if os.path.isdir(content["directory"]):
            _empty(content)
        undo_record.forget(record)
    except OSError as error:
        raise LayerError(f"can't undo the volume of {record}: {error}") from error


def finish(record: str) -> None:
    """Keep what was applied: remove the undo record, and the directory that was replaced."""
    try:
        content = undo_record.read(record)
        if content is None or "names" not in content:
            swap.finish(record)
        else:
            undo_record.forget(record)
    except OSError as error:
        raise LayerError(f"can't remove what the volume of {record} replaced: {error}") from error


def _fill(source: str, directory: str, record: str, build: swap.Build, links: Iterable[str]) -> None:
    with Descent(directory) as place:
        if os.listdir(place.fd):
            raise LayerError(f"the volume {directory} is not empty: what others put there would be lost")
        described = attributes.describe(place.fd)
    names = [*os.listdir(source), *(new for new in links if "/" not in new)]
    undo_record.write(record, {"directory": directory, "names": names, "root": described})
    done = False
    try:
        build(directory)
        done = True
    finally:
        if not done:
            undo(record)


def _empty(content: dict[str, Any]) -> None:
    """Remove what was applied by name: another container of the pod may have put its own beside."""
    with Descent(content["directory"]) as place:
        for name in content["names"]:
            descent.remove(name, place.fd)
        attributes.restore(place.fd, content["root"])
