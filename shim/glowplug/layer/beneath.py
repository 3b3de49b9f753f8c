"""Paths inside a container, opened beneath its root.

A path that a container names is resolved as the container would resolve it: absolute symlinks and ".." stay
below the root, and the magic links of /proc are refused. Without that, an absolute symlink under
/proc/PID/root or in a rootfs leads to the host's file.

`root` is a directory's path or a descriptor of it; `path` is absolute or relative, both meaning "from root".
Failures are OSError as the kernel gives them, with the path.
"""

import os

from glowplug.host.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

Root = int | str


def open_beneath(root: Root, path: str, flags: int, mode: int = 0) -> int:
    """A close-on-exec descriptor of `path` below `root`; `mode` counts only with O_CREAT."""
    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
    if isinstance(root, int):
        return openat2(root, path.lstrip("/") or ".", flags, mode, resolve)
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return openat2(root_fd, path.lstrip("/") or ".", flags, mode, resolve)
    finally:
        os.close(root_fd)


def mkdir(root: Root, path: str, mode: int = 0o755) -> None:
    """Make one directory; its parents must exist."""
    parent, name = _parent(root, path)
    try:
        os.mkdir(name, mode, dir_fd=parent)
    finally:
        os.close(parent)


def unlink(root: Root, path: str) -> None:
    """Remove a name; a symlink itself, never what it points to."""
    parent, name = _parent(root, path)
    try:
        os.unlink(name, dir_fd=parent)
    finally:
        os.close(parent)


def rmdir(root: Root, path: str) -> None:
    """Remove an empty directory."""
    parent, name = _parent(root, path)
    try:
        os.rmdir(name, dir_fd=parent)
    finally:
        os.close(parent)


def _parent(root: Root, path: str) -> tuple[int, str]:
    """A descriptor of the directory that holds the last name of `path`, and that name."""
    directory, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise ValueError(f"{path!r} names no entry of a directory")
    return open_beneath(root, directory, os.O_PATH | os.O_DIRECTORY), name
