"""Removing a directory of ours: never across a mount, never through a link.

A killed restore leaves mounts below the directories that are removed after it. What is in them is a pod's, or the
node's. Standard library only: the runtime uses it.
"""

import errno
import os

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Callable

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: str) -> bool:
    """Remove what is there, whatever it is; False where something stays: a mount with the directories above it, or
    what can't be removed. Nothing there is as good as removed."""
    directory, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        return False
    try:
        above = directory or ("/" if path.startswith("/") else ".")
        parent = os.open(above, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return error.errno in (errno.ENOENT, errno.ENOTDIR)
    try:
        return _remove(parent, name, mount_id(parent))
    finally:
        os.close(parent)


def mount_id(fd: int) -> int:
    """The mount that an open file is on (proc_pid_fdinfo(5)); the device number would not show a bind mount."""
    with open(f"/proc/self/fdinfo/{fd}") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("mnt_id:"))


def _remove(parent: int, name: str, mount: int) -> bool:
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            return error.errno == errno.ENOENT
        return _attempt(os.unlink, name, parent)
    try:
        if mount_id(fd) != mount:
            return False
        stays = [entry for entry in os.listdir(fd) if not _remove(fd, entry, mount)]
    except OSError:
        return False
    finally:
        os.close(fd)
    return not stays and _attempt(os.rmdir, name, parent)


def _attempt(remove: "Callable[..., None]", name: str, parent: int) -> bool:
    """A file that is a mount point is busy, as a directory is."""
    try:
        remove(name, dir_fd=parent)
    except OSError:
        return False
    return True
