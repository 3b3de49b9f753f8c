"""openat2(2): a path opened beneath a directory (uapi/linux/openat2.h). Used by the runtime: standard library only."""

import ctypes
import errno
import os

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_NR_openat2 = 437  # the system call table has been one for all architectures since number 424

_ATTEMPTS = 128
"""It answers EAGAIN when a rename anywhere on the machine raced with a ".." below the root."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def openat2(dir_fd: int, path: str, flags: int, mode: int, resolve: int) -> int:
    """A close-on-exec descriptor. `mode` must be 0 unless `flags` creates; EAGAIN is tried again. Raises OSError."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    name = ctypes.c_char_p(os.fsencode(path))
    for _ in range(_ATTEMPTS):
        number = ctypes.c_long(_NR_openat2)
        size = ctypes.c_size_t(ctypes.sizeof(how))
        fd: int = _libc.syscall(number, ctypes.c_long(dir_fd), name, ctypes.byref(how), size)
        if fd >= 0:
            return fd
        if ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            break
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code), path)
