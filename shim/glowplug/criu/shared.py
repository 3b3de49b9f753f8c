"""Shared memory in small pages, put in place by a helper process: half the work of writing it through a mapping.

Through the restored process's mapping each page is cleared before it is written, and comes by a fault of its own,
since CRIU's tasks can do nothing better. In a mapping of our own userfaultfd(2) puts full pages,
neither cleared nor faulted for. They are charged to the cgroup of whose mapping it is: so it is that of a helper,
a child of ours in the container's memory cgroup. What it does not put in place, our threads write as they write
any other memory.

Where shared memory comes in huge pages (`shmem_enabled`), that is the better way for all of it: none is put so.

Used by the runtime: standard library only.
"""

import errno
import os
import signal
import threading
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from glowplug.criu import calls
from glowplug.criu.chunks import Piece, mapped
from glowplug.host import proc

LEAST = 128 << 20
"""Bytes of shared memory that are worth a process."""
FEWEST_CORES = 2
"""A container that is limited to less is filled faster from outside of its cgroup."""
THREADS = 6
"""For one object, at most: they wait for each other at its locks. 16 GiB on 16 cores came at 5.5 GB/s with 4, at
5.8 with 8, and at 5.7 with 16, which took twice the CPU time of 8."""
_SETTING = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
_AROUND = 64 << 10  # bytes that the kernel maps at one read fault (fault_around_bytes)
_MOST_READ = 1024  # pieces in one system call (UIO_MAXIOV)
_READY = 0xFFFFFFFF


class _Mapping(NamedTuple):
    start: int
    end: int
    offset: int


class Helper:
    """The helper, from its start to its end. A context."""

    def __init__(self, pieces: Sequence[Piece], threads: int) -> None:
        """Start it, where it is worth it and nothing hinders it. Call it before other threads run."""
        self._pieces = pieces
        self._threads = threads
        self._theirs: dict[int, tuple[int, _Mapping]] = {}
        """Number of a piece → the process, and the mapping that the piece is in."""
        self._hear = -1
        self._pid = 0
        try:
            if _in_small_pages():
                self._find()
            if sum(pieces[number].bytes for number in self._theirs) >= LEAST:
                self._start()
        except OSError:  # no such process, no more processes: do without
            self.stop()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> "Helper":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._hear >= 0:
            os.close(self._hear)
            self._hear = -1

    @property
    def numbers(self) -> list[int]:
        """The pieces that it is working on, none without a helper."""
        return sorted(self._theirs) if self._pid else []

    def done(self) -> Iterator[int]:
        """The pieces that it has put in place, as it does so; it ends when no more will come."""
        while said := os.read(self._hear, 1024):
            yield from array("I", said)

    def stop(self) -> None:
        """End it, whatever it does."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0

    def _find(self) -> None:
        mappings: dict[int, list[_Mapping]] = {}
        for number, piece in enumerate(self._pieces):
            if piece.private:
                continue
            if piece.pid not in mappings:
                mappings[piece.pid] = _shared_mappings(piece.pid)
            first, (last, length, _) = piece.runs[0][0], piece.runs[-1]
            for one in mappings[piece.pid]:
                if one.start <= first and last + length <= one.end:
                    self._theirs[number] = (piece.pid, one)

    def _start(self) -> None:
        self._hear, say = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.close(self._hear)  # so that it learns of our end
                self._be(say)
            finally:
                os._exit(0)
        os.close(say)
        if os.read(self._hear, 4) != _word(_READY):
            self.stop()  # it could not enter the cgroup, or has no userfaultfd

    def _be(self, say: int) -> None:
        """What the helper does, from its first step to its end."""
        _enter(_memory_cgroup(next(iter(self._theirs.values()))[0]))
        userfault = calls.userfault()
        bases = {one: _mapped_here(userfault, *one) for one in set(self._theirs.values())}
        os.write(say, _word(_READY))
        numbers = iter(self._theirs)
        lock = threading.Lock()

        def take() -> int | None:
            with lock:
                return next(numbers, None)

        def labour() -> None:
            try:
                while (number := take()) is not None:
                    pid, there = self._theirs[number]
                    if _put(self._pieces[number], userfault, bases[pid, there] - there.start):
                        os.write(say, _word(number))
            except BaseException:  # noqa: BLE001 - nobody hears us, or we don't know: our end is understood
                os._exit(1)

        threads = [threading.Thread(target=labour) for _ in range(min(self._threads, THREADS * len(bases)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _word(number: int) -> bytes:
    return array("I", (number,)).tobytes()


def _mapped_here(userfault: int, pid: int, there: _Mapping) -> int:
    """A mapping of ours of what another process has mapped there; its address."""
    size = there.end - there.start
    descriptor = os.open(f"/proc/{pid}/map_files/{there.start:x}-{there.end:x}", os.O_RDWR | os.O_CLOEXEC)
    try:
        address = calls.map_shared(descriptor, there.offset, size)
    finally:
        os.close(descriptor)
    calls.expect(userfault, address, size)
    return address


def _put(piece: Piece, userfault: int, shift: int) -> bool:
    """Put a piece in place, shift bytes from where its process has it; whether all of it is there now."""
    try:
        with mapped(piece):
            for address, length, offset in piece.runs:
                calls.put(userfault, address + shift, piece.file.base + offset, length)
                calls.forget_pages(
                    address + shift, length
                )  # side by side, not in one go when the helper ends
        return _map_in(piece)
    except OSError:  # a page is there already, or the file has shrunk: our threads will see
        return False


def _in_small_pages() -> bool:
    try:
        with open(_SETTING) as file:
            return file.read().partition("[")[2].partition("]")[0] in ("never", "deny")
    except OSError:
        return True  # a kernel without huge pages


def _shared_mappings(pid: int) -> list[_Mapping]:
    """Of shared memory that the process may read and write (proc_pid_maps(5))."""
    found = []
    with open(f"/proc/{pid}/maps", "rb") as lines:
        for line in lines:
            bounds, permissions, offset, _ = line.split(maxsplit=3)
            if permissions[:2] == b"rw" and permissions[3:] == b"s":
                start, _, end = bounds.partition(b"-")
                found.append(_Mapping(int(start, 16), int(end, 16), int(offset, 16)))
    return found


def _memory_cgroup(pid: int) -> str:
    """The directory of a process's memory cgroup (cgroups(7), /proc/PID/cgroup). Raises OSError."""
    unified = ""
    for controllers, path in proc.cgroups(pid):
        if "memory" in controllers:
            return f"/sys/fs/cgroup/memory{path}"
        unified = unified if controllers else f"/sys/fs/cgroup{path}"
    return unified


def _enter(cgroup: str) -> None:
    """Enter a cgroup. Raises OSError, also where its limit of CPU time would make us slow (v2: cpu.max)."""
    with suppress(FileNotFoundError), open(f"{cgroup}/cpu.max") as file:
        quota, period = file.read().split()
        if quota != "max" and int(quota) < FEWEST_CORES * int(period):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
    with open(f"{cgroup}/cgroup.procs", "w") as file:
        file.write("0")  # who writes it


def _map_in(piece: Piece) -> bool:
    """Have the pages, which are there now, in the process's page tables: reads of one byte, 16 pages each."""
    wanted = [
        at
        for address, length, _ in piece.runs
        for at in (address, *range((address // _AROUND + 1) * _AROUND, address + length, _AROUND))
    ]
    bytes_read = array("B", bytes(_MOST_READ))
    for at in range(0, len(wanted), _MOST_READ):
        there = array("Q", (word for address in wanted[at : at + _MOST_READ] for word in (address, 1)))
        here = array("Q", (bytes_read.buffer_info()[0], len(there) // 2))
        if calls.read_process(piece.pid, here, there) != len(there) // 2:
            return False
    return True
