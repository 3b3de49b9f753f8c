"""ptrace(2), one thin call. Constants bear their kernel names (uapi/linux/ptrace.h).

ptrace belongs to the thread that attached. Used by the runtime: standard library only.
"""

import ctypes
import os

PTRACE_CONT = 7
PTRACE_DETACH = 17
PTRACE_GETREGSET = 0x4204
PTRACE_SETREGSET = 0x4205
PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
PTRACE_GETSIGMASK = 0x420A
PTRACE_SETSIGMASK = 0x420B
PTRACE_O_EXITKILL = 0x00100000
PTRACE_EVENT_STOP = 128
WALL = 0x40000000
"""__WALL of wait4(2): report any thread, not only children of ours."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def call(request: int, tid: int, address: int = 0, data: int = 0) -> None:
    """Raises OSError with its errno."""
    if _libc.ptrace(request, tid, address, data) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace({request:#x}) of thread {tid}: {os.strerror(number)}")
