"""Walking a directory tree of any depth and with any names, following no symlink.

A container decides how deep its directories are and what they are called: paths longer than PATH_MAX, deeper
than Python's stack and the descriptor limit, names that are no UTF-8 (os.fsdecode's surrogates carry those).
So there is one descriptor at any depth: down by name with O_NOFOLLOW, up by "..", and the directory reached
on the way up must be the one that was left on the way down.
"""

from __future__ import annotations

import os
import stat

from glowplug.errors import LayerError
from glowplug.host import removal

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

ENTER = 1
LEAVE = 2
ENTRY = 3

Step = tuple[int, str, os.stat_result]


class Descent:
    """A place in a tree: `fd` is the directory's descriptor now, `root` the descriptor of where it began, and
    `names` the way between both. Closed by leaving a with statement."""

    def __init__(self, root: str, dir_fd: int | None = None) -> None:
        self.root = os.open(root, _DIRECTORY, dir_fd=dir_fd)
        self.fd = os.dup(self.root)
        self.names: list[str] = []
        self._above: list[tuple[int, int]] = []

    def __enter__(self) -> Descent:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
        os.close(self.root)

    def down(self, name: str) -> None:
        """Enter a directory of this one, never through a link."""
        here = os.fstat(self.fd)
        self._move(name)
        self.names.append(name)
        self._above.append((here.st_dev, here.st_ino))

    def up(self) -> None:
        """Leave for the directory above. Raises LayerError where this one was moved meanwhile."""
        self._move("..")
        name = self.names.pop()
        here = os.fstat(self.fd)
        if (here.st_dev, here.st_ino) != self._above.pop():
            raise LayerError(f"the directory {name!r} was moved while its tree was being walked")

    def _move(self, name: str) -> None:
        fd = os.open(name, _DIRECTORY, dir_fd=self.fd)
        os.close(self.fd)
        self.fd = fd


def entries(fd: int) -> list[tuple[str, os.stat_result]]:
    """The names in a directory with their lstat, in the order of their bytes."""
    with os.scandir(fd) as scan:
        found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in scan]
    found.sort(key=_name_bytes)
    return found


def walk(place: Descent, select: Collection[str] | None = None) -> Iterator[Step]:
    """Every step through the tree below `place`, parents first, names in the order of their bytes.

    select: paths from `place` that are visited, parents too; None for all.
    ENTER: `place` is now in that directory. ENTRY: anything but a directory, in `place`. LEAVE: all of the
    directory that `place` is in has been seen; the last LEAVE has the name "" and is the root itself.
    """
    levels = [("", os.fstat(place.fd), iter(entries(place.fd)))]
    while levels:
        name, status, rest = levels[-1]
        child = next(rest, None)
        if child is None:
            yield LEAVE, name, status
            levels.pop()
            if levels:
                place.up()
        elif select is not None and "/".join((*place.names, child[0])) not in select:
            continue
        elif stat.S_ISDIR(child[1].st_mode):
            place.down(child[0])
            levels.append((*child, iter(entries(place.fd))))
            yield ENTER, *child
        else:
            yield ENTRY, *child


def remove(name: str, dir_fd: int | None = None) -> None:
    """Remove `name` (in the directory `dir_fd`) with all below it; nothing there is fine.

    LayerError at the first thing that is mounted there: what is in it is somebody else's.
    """
    try:
        os.unlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        above, slash, last = name.rstrip("/").rpartition("/")
        with Descent(f"{above}{slash}.", dir_fd) as place:  # the dot: what is above may be reached by a link
            _down(place, last, removal.mount_id(place.fd))
            empty(place)
            place.up()
            os.rmdir(last, dir_fd=place.fd)


def _down(place: Descent, name: str, mount: int) -> None:
    place.down(name)
    if removal.mount_id(place.fd) != mount:
        raise LayerError(f"something is mounted at {name!r}, below a directory that is to be removed")


def empty(place: Descent) -> None:
    """Remove everything in the directory `place` is in, and return to it."""
    depth = len(place.names)
    mount = removal.mount_id(place.fd)
    waiting = [_unlink_files(place.fd)]
    while True:
        if waiting[-1]:
            _down(place, waiting[-1][-1], mount)
            waiting.append(_unlink_files(place.fd))
            continue
        waiting.pop()
        if len(place.names) == depth:
            return
        place.up()
        os.rmdir(waiting[-1].pop(), dir_fd=place.fd)


def _unlink_files(fd: int) -> list[str]:
    """Unlink all but the directories in `fd`; the names of those."""
    with os.scandir(fd) as scan:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in scan]
    for name, is_directory in names:
        if not is_directory:
            os.unlink(name, dir_fd=fd)
    return [name for name, is_directory in names if is_directory]


def _name_bytes(entry: tuple[str, os.stat_result]) -> bytes:
    return os.fsencode(entry[0])


def link(directory: str, name: str, new: str) -> None:
    """Give a file below the directory another name there; no symlink is followed on either way."""
    *above, last = name.split("/")
    *new_above, new_last = new.split("/")
    with Descent(directory) as source, Descent(directory) as target:
        for step in above:
            source.down(step)
        for step in new_above:
            target.down(step)
        os.link(last, new_last, src_dir_fd=source.fd, dst_dir_fd=target.fd, follow_symlinks=False)
