"""A regular file's bytes, copied by the kernel: shared where the file system can, holes kept as holes."""

from __future__ import annotations

import errno
import os

from glowplug.errors import LayerError
from glowplug.host import holes
from glowplug.layer.syscalls import clone_file

# Below the 2 GiB that one call moves at most, and small enough that a signal is seen soon.
_STRETCH = 256 << 20

# Between these file systems, or for this file, the kernel has no such copy: another way is tried.
_NO_SUCH_COPY = frozenset((errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENOTTY))


class FileCopier:
    """Copies between two file systems, remembering which ways of copying these have."""

    def __init__(self) -> None:
        self._clones = True
        self._ranges = True

    def copy(self, source: int, target: int, status: os.stat_result) -> None:
        """Fill the new, empty file `target` from `source`, whose lstat is `status`."""
        size = status.st_size
        if size == 0 or (self._clones and self._clone(source, target)):
            return
        for start, end in holes.stretches(source, status):
            self._copy_range(source, target, start, end)
        if os.fstat(target).st_size != size:
            os.ftruncate(target, size)

    def _clone(self, source: int, target: int) -> bool:
        try:
            clone_file(source, target)
        except OSError as error:
            if error.errno not in _NO_SUCH_COPY:
                raise
            self._clones = False
        return self._clones

    def _copy_range(self, source: int, target: int, start: int, end: int) -> None:
        while start < end:
            copied = self._copy_some(source, target, start, min(end - start, _STRETCH))
            if copied == 0:
                raise LayerError(f"a file ended at {start} bytes while it was being copied, expected {end}")
            start += copied

    def _copy_some(self, source: int, target: int, start: int, count: int) -> int:
        if self._ranges:
            try:
                return os.copy_file_range(source, target, count, start, start)
            except OSError as error:
                if error.errno not in _NO_SUCH_COPY:
                    raise
                self._ranges = False
        os.lseek(target, start, os.SEEK_SET)
        return os.sendfile(target, source, start, count)


def same(first: int, second: int) -> bool:
    """Whether two open regular files of one size have the same bytes."""
    offset = 0
    while True:
        one, other = os.pread(first, 1 << 20, offset), os.pread(second, 1 << 20, offset)
        if one != other:
            return False
        if not one:
            return True
        offset += len(one)


def allocated(status: os.stat_result) -> int:
    """Bytes that this inode takes on its disk (holes take none)."""
    return status.st_blocks * 512
