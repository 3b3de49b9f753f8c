"""What other processes have open: a list of it, and a copy of a descriptor to ask the kernel about it.

A copy (pidfd_getfd(2)) is the same open file: it is queried, set, and closed at once. Standard library only.
"""

import ctypes
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

PIDFD_GETFD = 438  # the same on all architectures (asm-generic/unistd.h)

_libc = ctypes.CDLL(None, use_errno=True)


class Descriptor:
    """One open file of a process. `pid`: as seen here. `target`: what /proc/PID/fd shows."""

    __slots__ = ("number", "pid", "target")

    def __init__(self, pid: int, number: int, target: str) -> None:
        self.pid = pid
        self.number = number
        self.target = target

    @property
    def inode(self) -> int:
        """Of a socket or pipe, by the number in its name (`socket:[123]`); 0 for anything else."""
        kind, _, rest = self.target.partition(":[")
        return int(rest[:-1]) if kind in ("socket", "pipe") and rest[:-1].isdigit() else 0

    def info(self) -> list[str]:
        """Lines of its fdinfo (proc_pid_fdinfo(5)); none where it is closed by now."""
        try:
            with open(f"/proc/{self.pid}/fdinfo/{self.number}") as lines:
                return lines.read().splitlines()
        except OSError:
            return []

    def fields(self) -> dict[str, str]:
        """Of these lines, what is `name: value`."""
        return dict(line.split(":", 1) for line in self.info() if ":" in line)

    def flags(self) -> int:
        """Of open(2); 0 where it is closed by now."""
        return int(self.fields().get("flags", "0"), 8)


def of(pids: Iterable[int]) -> list[Descriptor]:
    """All that these processes have open. What is closed meanwhile is left out."""
    found = []
    for pid in pids:
        try:
            numbers = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue  # it ended
        for number in sorted(map(int, numbers)):
            try:
                found.append(Descriptor(pid, number, os.readlink(f"/proc/{pid}/fd/{number}")))
            except OSError:
                continue
    return found


def sockets(pids: Iterable[int]) -> list[Descriptor]:
    """The sockets among them, each socket once however many processes share it."""
    found: dict[int, Descriptor] = {}
    for one in of(pids):
        if one.target.startswith("socket:["):
            found.setdefault(one.inode, one)
    return list(found.values())


@contextmanager
def borrowed(pid: int, number: int) -> Iterator[int]:
    """A copy of another process's descriptor, closed in the end. Raises OSError when there is none (any more).

    It may be a copy of something else than was listed: the process may have closed and opened since.
    """
    process = os.pidfd_open(pid)
    try:
        copy = _libc.syscall(PIDFD_GETFD, process, number, 0)
        if copy < 0:
            error = ctypes.get_errno()
            raise OSError(error, f"pidfd_getfd of descriptor {number} of process {pid}: {os.strerror(error)}")
    finally:
        os.close(process)
    try:
        yield copy
    finally:
        os.close(copy)
