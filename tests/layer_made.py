"""Directory trees and overlay mounts for the tests of the package `layer`."""

import hashlib
import os
import stat
from collections.abc import Iterator

import pytest

from glowplug.layer import syscalls

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")

Facts = tuple[object, ...]


def listing(root: str | bytes, *, times: bool = True) -> dict[bytes, Facts]:
    """Everything that a reader of a tree can see, by path; hard links by the first path of their inode."""
    top = os.fsencode(root)
    seen: dict[tuple[int, int], bytes] = {}
    found: dict[bytes, Facts] = {}
    for path in sorted(_paths(top)):
        status = os.lstat(path)
        name = os.path.relpath(path, top)
        first = name
        if not stat.S_ISDIR(status.st_mode):
            first = seen.setdefault((status.st_dev, status.st_ino), name)
        found[name] = (
            *(oct(status.st_mode), status.st_uid, status.st_gid, status.st_rdev, first),
            status.st_mtime_ns if times else None,
            _content(path, status),
            tuple(
                (name, os.getxattr(path, name, follow_symlinks=False))
                for name in sorted(os.listxattr(path, follow_symlinks=False))
            ),
        )
    return found


def _paths(top: bytes) -> Iterator[bytes]:
    yield top
    for directory, directories, files in os.walk(top):
        for name in directories + files:
            yield os.path.join(directory, name)


def _content(path: bytes, status: os.stat_result) -> object:
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(path)
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            return status.st_size, hashlib.file_digest(file, "blake2b").hexdigest()
    return None


class Overlay:
    """An overlay with one lower directory, mounted like containerd does it."""

    def __init__(self, place: str, lower: str, options: str = "index=off") -> None:
        self.lower, self.options = lower, options
        self.upper, self.work, self.merged = (os.path.join(place, name) for name in ("fs", "work", "merged"))
        for path in (place, lower, self.upper, self.work, self.merged):
            os.makedirs(path, exist_ok=True)

    def __enter__(self) -> "Overlay":
        self.mount()
        return self

    def __exit__(self, *_: object) -> None:
        self.unmount()

    def mount(self) -> None:
        data = f"lowerdir={self.lower},upperdir={self.upper},workdir={self.work},{self.options}"
        syscalls.mount("overlay", self.merged, "overlay", 0, data)

    def unmount(self) -> None:
        syscalls.umount2(self.merged, 0)

    def shown(self, *, times: bool = True) -> dict[bytes, Facts]:
        return listing(self.merged, times=times)


def mountinfo_lines(target: str) -> list[str]:
    """The mounts at `target`, less what changes from one mount to the next: its number and device."""
    with open("/proc/self/mountinfo") as file:
        fields = [line.split(" ") for line in file]
    shown = target.replace("\\", "\\134").replace(" ", "\\040").replace("\n", "\\012")
    return [" ".join([field[1], *field[3:]]) for field in fields if field[4] == shown]
