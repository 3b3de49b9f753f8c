"""How much of a file the page cache holds (cachestat(2), Linux 6.5)."""

import ctypes
import os

_NR_cachestat = 451  # one number for all architectures

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
    """Bytes of the file that a read would have to fetch; all of them where the kernel can't say. OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        size = os.fstat(fd).st_size
        everything, found = _Range(0, 0), _Stat()
        if _libc.syscall(_NR_cachestat, fd, ctypes.byref(everything), ctypes.byref(found), 0) < 0:
            return size
        return max(0, size - int(found.nr_cache) * os.sysconf("SC_PAGE_SIZE"))
    finally:
        os.close(fd)
