"""How much of a file the page cache holds (cachestat(2), Linux 6.5)."""

import ctypes
import os

from glowplug.host import holes

_NR_cachestat = 451  # one number for all architectures
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SAMPLES = 128

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _Range(ctypes.Structure):
    _fields_ = (("off", ctypes.c_uint64), ("len", ctypes.c_uint64))


class _Stat(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in ("nr_cache", "nr_dirty", "nr_writeback", "nr_evicted", "nr_recently_evicted")
    )


def uncached_bytes(path: str) -> int:
    """Bytes of the file that a read would have to fetch, holes not counted; all where the kernel can't say. OSError.

    It takes the kernel up to 7 ms per GB, depending on the file system.
    """
    fd = _open(path)
    try:
        return _uncached(fd, os.fstat(fd))
    finally:
        os.close(fd)


def estimated_uncached_bytes(path: str) -> int:
    """As `uncached_bytes`, of a large file from 128 of its pages: below 1 ms for a file of any size.

    The kernel drops a file's pages in long stretches: one that lies between two samples is 0.8 % of the file.
    """
    fd = _open(path)
    try:
        status = os.fstat(fd)
        step = status.st_size // _SAMPLES // _PAGE * _PAGE
        if step < 16 * _PAGE:
            return _uncached(fd, status)
        sparse = holes.is_sparse(status)
        missing = 0
        for offset in range(0, _SAMPLES * step, step):
            if not sparse or holes.next_data(fd, offset) == offset:
                missing += not _cached_pages(fd, offset, _PAGE)
        return status.st_size * missing // _SAMPLES
    finally:
        os.close(fd)


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)


def _uncached(fd: int, status: os.stat_result) -> int:
    return sum(
        max(0, end - start - _cached_pages(fd, start, end - start) * _PAGE)
        for start, end in holes.stretches(fd, status)
        if end > start
    )


def _cached_pages(fd: int, start: int, length: int) -> int:
    """Of `length` bytes from `start` on; none where the kernel can't say."""
    part, found = _Range(start, length), _Stat()
    if _libc.syscall(_NR_cachestat, fd, ctypes.byref(part), ctypes.byref(found), 0) < 0:
        return 0
    return int(found.nr_cache)
