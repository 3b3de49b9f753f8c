"""A compile cache that the node has kept, put into the root file system of a container that starts cold.

Into the mounted root file system, so into the container's own layer: what is kept stays as it is, and what the
container changes goes with it. No process of the container runs yet, so nothing else changes files there. What the
image has stays. Each file is complete or not there; what goes wrong ends it, and the start continues.
"""

import contextlib
import os
import time

from glowplug.cache import pack
from glowplug.errors import CacheError
from glowplug.host.openat2 import (
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    openat2,
)
from glowplug.outcomes.outcome import CompileCacheUse

WITHIN_S = 10.0
_RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def give(path: str, rootfs: str) -> CompileCacheUse:
    """What the outcome says of it. Raises nothing.

    path: the pack. rootfs: where the root file system is mounted.
    """
    began = time.monotonic()
    counts = [0, 0]
    detail = ""
    try:
        _give(path, rootfs, began + WITHIN_S, counts)
    except CacheError as error:
        detail = f"{error}: removed"
        with contextlib.suppress(OSError):
            os.unlink(path)
    except Exception as error:  # noqa: BLE001 - promise 1: no fault of ours costs a start
        detail = str(error) or type(error).__name__
    return CompileCacheUse(counts[0], counts[1], round(time.monotonic() - began, 4), detail)


def _give(path: str, rootfs: str, until: float, counts: list[int]) -> None:
    pack_fd = pack.open_pack(path)
    try:
        index = pack.read_index(pack_fd)
        os.utime(pack_fd)  # its last use
        root = os.open(rootfs, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _require_mounted(root, rootfs)
            _fill(pack_fd, index, root, until, counts)
        finally:
            os.close(root)
    finally:
        os.close(pack_fd)


def _require_mounted(root: int, rootfs: str) -> None:
    """Raises OSError where nothing is mounted there: then it is no container's layer."""
    if os.fstat(root).st_dev == os.stat(os.path.dirname(rootfs.rstrip("/")) or "/").st_dev:
        raise OSError(f"{rootfs} is not mounted")


def _fill(pack_fd: int, index: pack.Index, root: int, until: float, counts: list[int]) -> None:
    for directory in index.directories:
        _make_directory(root, directory)
    above, opened = "", -1
    try:
        for file in index.files:
            if time.monotonic() > until:
                raise TimeoutError(f"not all of it could be copied within {WITHIN_S:g} s")
            parent, _, name = file.path.rpartition("/")
            if opened < 0 or parent != above:
                if opened >= 0:
                    os.close(opened)
                    opened = -1
                above, opened = parent, openat2(root, parent or ".", _DIRECTORY, 0, _RESOLVE)
            counts[0] += _copy(pack_fd, file, opened, name, counts)
    finally:
        if opened >= 0:
            os.close(opened)


def _make_directory(root: int, directory: pack.Directory) -> None:
    above, _, name = directory.path.rpartition("/")
    parent = openat2(root, above or ".", _DIRECTORY, 0, _RESOLVE)
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
        made_fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.fchown(made_fd, directory.uid, directory.gid)
            os.fchmod(made_fd, directory.mode)
        finally:
            os.close(made_fd)
    except FileExistsError:
        return
    finally:
        os.close(parent)


def _copy(pack_fd: int, file: pack.File, directory: int, name: str, counts: list[int]) -> int:
    """1, or 0 where such a file is there."""
    try:
        target_fd = os.open(name, _CREATE, 0o600, dir_fd=directory)
    except FileExistsError:
        return 0
    try:
        pack.copy_out(pack_fd, file, target_fd)
        os.fchown(target_fd, file.uid, file.gid)
        os.fchmod(target_fd, file.mode)
        os.utime(target_fd, ns=(file.mtime_ns, file.mtime_ns))
    except BaseException:
        os.unlink(name, dir_fd=directory)
        raise
    finally:
        os.close(target_fd)
    counts[1] += file.size
    return 1
