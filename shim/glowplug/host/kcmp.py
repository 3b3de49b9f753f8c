"""Whether two processes, or two descriptors, have the same kernel object: kcmp(2).

Standard library only.
"""

import ctypes
import functools
import itertools
import os
from collections.abc import Iterable

FILE, VM, FILES, FS, EPOLL_TFD = 0, 1, 2, 3, 7
"""Kinds (enum kcmp_type, linux/kcmp.h): an open file, memory, all open files, working directory and umask, a file that
an epoll watches."""

_NUMBERS = {"x86_64": 312, "aarch64": 272}
_libc = ctypes.CDLL(None, use_errno=True)


class _Slot(ctypes.Structure):
    """A file as an epoll knows it (struct kcmp_epoll_slot)."""

    _fields_ = (("efd", ctypes.c_uint32), ("tfd", ctypes.c_uint32), ("toff", ctypes.c_uint32))


def order(first: int, second: int, kind: int, fd1: int = 0, fd2: int = 0) -> int:
    """0 for the same, 1 for less, 2 for greater, below 0 where it can't be compared: one of them has ended."""
    call = _NUMBERS[os.uname().machine]
    return int(_libc.syscall(call, first, second, kind, ctypes.c_ulong(fd1), ctypes.c_ulong(fd2)))


def is_watched(pid: int, fd: int, epoll: int, number: int, nth: int) -> bool:
    """Whether descriptor `fd` of a process is the file that its `epoll` watches as `number`, `nth` of that number."""
    slot = _Slot(epoll, number, nth)
    return order(pid, pid, EPOLL_TFD, fd, ctypes.addressof(slot)) == 0


def same(pids: Iterable[int], kind: int) -> list[tuple[int, int]]:
    """Pairs of processes that share an object of that kind, each with the one before it that has it."""

    def compare(one: int, other: int) -> int:
        return {1: -1, 2: 1}.get(order(one, other, kind), 0)

    found = sorted(pids, key=functools.cmp_to_key(compare))
    return [(one, other) for one, other in itertools.pairwise(found) if order(one, other, kind) == 0]
