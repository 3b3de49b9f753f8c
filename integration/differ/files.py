"""What each descriptor of a process is, with all that fdinfo and fcntl(2) say of it."""

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import struct
import termios
from collections.abc import Iterator

from glowplug.host import descriptors
from integration.differ import sockets
from integration.differ.numbers import Numbers
from integration.differ.processes import read, undated

NOT_KEPT = ("mnt_id", "ino", "eventfd-id", "it_value", "NSpid")
"""Lines of fdinfo that are the new kernel objects' own numbers, or run by themselves."""
INOTIFY = ("wd:", "mask:", "ignored_mask:")
QUERIES = {"signal": 11, "lease": 1025, "pipe-size": 1032, "seals": 1034}
"""What fcntl(2) answers with a number: F_GETSIG, F_GETLEASE, F_GETPIPE_SZ, F_GET_SEALS."""
O_LARGEFILE = 0o100000  # the kernel adds it where it opens on its own
F_GETOWN_EX, F_GET_RW_HINT, KCMP_FILE = 16, 1035, 0
_KCMP = {"x86_64": 312, "aarch64": 272}[platform.machine()]
_libc = ctypes.CDLL(None, use_errno=True)

Descriptor = descriptors.Descriptor


class Opened:
    """Descriptors of all processes of a container, and the open files behind them."""

    def __init__(self, found: list[Descriptor], numbers: Numbers) -> None:
        self._numbers = numbers
        self._of: dict[int, list[Descriptor]] = {}
        self._names: dict[int, str] = {}
        self._files: dict[str, list[Descriptor]] = {}
        for one in sorted(found, key=lambda each: (numbers.inside(each.pid), each.number)):
            self._of.setdefault(one.pid, []).append(one)
            if one.inode:
                self._names.setdefault(one.inode, self._name(one))

    def of(self, pid: int) -> Iterator[tuple[str, str]]:
        """What is closed meanwhile is left out."""
        for one in self._of.get(pid, ()):
            with contextlib.suppress(OSError):
                found = dict(self._descriptor(one))
                yield from ((f"fd/{one.number}/{field}", value) for field, value in found.items())

    def _name(self, one: Descriptor) -> str:
        return f"{self._numbers.inside(one.pid)}/fd/{one.number}"

    def _descriptor(self, one: Descriptor) -> Iterator[tuple[str, str]]:
        kind = one.target.partition(":[")[0]
        yield "target", f"{kind} of {self._names[one.inode]}" if one.inode else undated(one.target)
        yield "open-file", self._name(self._first_with_the_same(one))
        yield from self._fdinfo(one)
        with descriptors.borrowed(one.pid, one.number) as fd:
            if os.readlink(f"/proc/self/fd/{fd}") != os.readlink(f"/proc/{one.pid}/fd/{one.number}"):
                return
            status = os.fstat(fd)
            yield "mode", f"{status.st_mode:o} {status.st_uid}:{status.st_gid}"
            yield from _fcntl(fd, self._numbers)
            if kind in ("pipe", "socket"):
                yield "unread", _unread(fd)
            if kind == "socket":
                yield from sockets.of(fd, one.pid, self._numbers)

    def _first_with_the_same(self, one: Descriptor) -> Descriptor:
        """Who shares an open file, its position and flags, with whom (kcmp(2))."""
        alike = self._files.setdefault(one.target, [])
        for other in alike:
            if _libc.syscall(_KCMP, other.pid, one.pid, KCMP_FILE, other.number, one.number) == 0:
                return other
        alike.append(one)
        return one

    def _fdinfo(self, one: Descriptor) -> Iterator[tuple[str, str]]:
        times: dict[str, int] = {}
        for line in read(f"/proc/{one.pid}/fdinfo/{one.number}").splitlines():
            name, _, value = line.partition(":")
            words = line.split()
            if name in NOT_KEPT:
                continue
            if words[0] in ("inotify", "fanotify"):
                name, value = words[0], " ".join(word for word in words[1:] if word.startswith(INOTIFY))
            elif name == "tfd":
                name, value = f"watches-{words[1]}", " ".join(words[2:6])
            elif name == "lock":  # lock: 1: POSIX ADVISORY WRITE 123 00:1f:99 0 EOF
                words[5] = str(self._numbers.inside(int(words[5])))
                value = " ".join(words[2:6] + words[7:])
            elif name == "flags":
                value = f"{int(value, 8) & ~O_LARGEFILE:#o}"
            elif name == "Pid":
                value = str(self._numbers.inside(int(value)))
            times[name] = times.get(name, 0) + 1
            yield (name if times[name] == 1 else f"{name}-{times[name]}"), " ".join(value.split())


def _fcntl(fd: int, numbers: Numbers) -> Iterator[tuple[str, str]]:
    yield "status-flags", f"{fcntl.fcntl(fd, fcntl.F_GETFL) & ~O_LARGEFILE:#o}"
    for name, command in QUERIES.items():
        with contextlib.suppress(OSError):
            yield name, f"{fcntl.fcntl(fd, command):#x}"
    with contextlib.suppress(OSError):
        kind, number = struct.unpack("ii", fcntl.fcntl(fd, F_GETOWN_EX, bytes(8)))
        yield "owner", f"{kind} {numbers.inside(number)}"
    with contextlib.suppress(OSError):
        yield "write-hint", str(struct.unpack("Q", fcntl.fcntl(fd, F_GET_RW_HINT, bytes(8)))[0])


def _unread(fd: int) -> str:
    """Bytes that can be read now."""
    try:
        return str(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0])
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "")
