"""What a file of a writable layer is called, when only a process knows it: by an open descriptor, say.

Overlayfs shows a file that it copied up under the inode number of its lower file, so numbers are compared as
the container sees them, and never with the upper directory's own.
"""

import os
from collections.abc import Collection

from glowplug.errors import LayerError
from glowplug.layer.beneath import open_beneath
from glowplug.layer.descent import ENTRY, Descent, walk

Inode = tuple[int, int]
"""st_dev and st_ino, in the container."""


def of_inodes(upper: str, root: str, wanted: Collection[Inode]) -> dict[Inode, str]:
    """A name below `upper` of each expected file that has one there; the container is frozen.

    root: the container's root directory, /proc/PID/root. LayerError when the layer can't be walked.
    """
    found: dict[Inode, str] = {}
    try:
        root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with Descent(upper) as place:
                for step, name, _ in walk(place):
                    if step == ENTRY:
                        path = "/".join((*place.names, name))
                        inode = _seen(root_fd, path)
                        if inode in wanted:
                            found.setdefault(inode, path)
        finally:
            os.close(root_fd)
    except OSError as error:
        raise LayerError(f"can't look for names in the layer {upper}: {error}") from error
    return found


def _seen(root: int, path: str) -> Inode:
    """What the container sees there; (0, 0) for a whiteout, which it does not see."""
    try:
        fd = open_beneath(root, path, os.O_PATH | os.O_NOFOLLOW)
    except FileNotFoundError:
        return 0, 0
    try:
        status = os.fstat(fd)
        return status.st_dev, status.st_ino
    finally:
        os.close(fd)
