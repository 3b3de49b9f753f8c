"""A child that is in another cgroup from its first moment (clone3(2), CLONE_INTO_CGROUP; Linux 5.7, cgroup v2).

Who enters a cgroup later waits until no process of the node is between two moments of a fork or an exit, for which the
kernel waits for each core: 8 ms on an idle machine with two of them. Used by the runtime: standard library only.
"""

import ctypes
import os

CLONE_INTO_CGROUP = 0x200000000
SIGCHLD = 17  # asm-generic/signal.h

_NR_clone3 = 435  # one number for all architectures

_libc = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock: the child has it, too
_libc.syscall.restype = ctypes.c_long


class _CloneArgs(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            *("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls"),
            *("set_tid", "set_tid_size", "cgroup"),
        )
    )


def fork_into(directory: str) -> int:
    """As os.fork, with the child in this cgroup of the unified hierarchy. Raises OSError; there is no child then.

    For a process with one thread: Python's own work at a fork, which is about others, is left out. The child ends with
    os._exit.
    """
    group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        wanted = _CloneArgs(flags=CLONE_INTO_CGROUP, exit_signal=SIGCHLD, cgroup=group)
        size = ctypes.c_size_t(ctypes.sizeof(wanted))
        pid = int(_libc.syscall(ctypes.c_long(_NR_clone3), ctypes.byref(wanted), size))
    finally:
        os.close(group)
    if pid < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), directory)
    return pid
