"""Write memory extents into restored processes: many threads, each copying its piece through the kernel.

The processes exist, hold their mappings as CRIU made them, and do not run. Each piece is written with
process_vm_writev(2), through the process's own mapping, so that its pages are charged to the container's
memory limit and come as huge pages where the mapping asks for them. Python lets go of its lock during these
calls, so threads work side by side.

Where the data comes from is decided piece by piece: mapped, if it lies in the page cache; otherwise read past
it (O_DIRECT) into a buffer of the thread, so that a cold disk sees large reads and nobody's cache is washed out.

Used by the runtime: standard library only.
"""

import ctypes
import errno
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from glowplug.criu import extents
from glowplug.errors import CriuError, ImageError

PIECE = 16 << 20
"""Bytes in one system call at most: huge enough to be worth it, small enough to share out evenly."""
FEWEST_THREADS, MOST_THREADS = 4, 16
_READERS = 8
"""Threads at least, where a disk is to be read: they wait for it most of the time."""
_MOST_RUNS = 512  # per system call; the kernel takes 1024 (UIO_MAXIOV)
_FARTHEST = 128 << 10  # bytes of file between runs of one piece, read for nothing
_PROGRESS_S = 0.1

_PROT_READ, _PROT_WRITE = 1, 2
_MAP_SHARED, _MAP_PRIVATE, _MAP_ANONYMOUS, _MAP_POPULATE = 0x01, 0x02, 0x20, 0x8000
_MADV_HUGEPAGE = 14
_MAP_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
_libc.pread.restype = ctypes.c_ssize_t
_libc.pread.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long]
_libc.process_vm_writev.restype = ctypes.c_ssize_t
_libc.process_vm_writev.argtypes = [
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_ulong,
    ctypes.c_void_p,
    ctypes.c_ulong,
    ctypes.c_ulong,
]


class Filled(NamedTuple):
    """What a fill did."""

    bytes: int
    seconds: float
    mapped: int
    """Bytes that came from the page cache; the others were read from the disk."""


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Piece(NamedTuple):
    file: "_File"
    pid: int
    runs: tuple[tuple[int, int, int], ...]
    """Address, length, offset; upwards, near to each other in the file."""


class _File(NamedTuple):
    name: str
    cached: int
    direct: int
    """The same file opened for direct reads, or -1 where its file system has none."""


def fill(
    memory_dir: str,
    hosts: Mapping[int, int],
    until: float,
    progress: Callable[[int, int], None] | None = None,
    threads: int = 0,
) -> Filled:
    """Write all extents of a checkpoint into its restored processes.

    memory_dir: the checkpoint's `memory/`. hosts: pid in the container → pid here, of processes that are held.
    until: time.monotonic() at which to give up. progress: called now and then with (bytes done, bytes in all).
    threads: how many, 0 for as many as suit this node.
    Raises ImageError (the checkpoint's fault: missing, short or unreadable data) or CriuError (the process's
    or the node's: no such mapping, process gone, out of memory, out of time); no thread is left writing then.
    """
    began = time.monotonic()
    found = extents.load(memory_dir)
    lost = sorted({extent.pid for extent in found} - set(hosts))
    if lost:
        raise CriuError(f"the restored tree lacks process {lost[0]}, for which the checkpoint holds memory")
    total = sum(extent.bytes for extent in found)
    files: dict[str, _File] = {}
    try:
        for extent in found:
            if extent.data not in files:
                files[extent.data] = _open(memory_dir, extent.data)
        pieces = [piece for extent in found for piece in _cut(extent, files[extent.data], hosts[extent.pid])]
        crew = _Crew(pieces)
        crew.work(threads or _suitable(pieces), until, lambda done: progress and progress(done, total))
    finally:
        for file in files.values():
            os.close(file.cached)
            if file.direct >= 0:
                os.close(file.direct)
    return Filled(total, time.monotonic() - began, crew.mapped)


class _Crew:
    """Threads that take pieces until there are none, one of them fails, or time is up."""

    def __init__(self, pieces: list[_Piece]) -> None:
        self._pieces = iter(pieces)
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._stop = False
        self.done = 0
        self.mapped = 0

    def work(self, threads: int, until: float, progress: Callable[[int], object]) -> None:
        """Run the crew to its end. Raises what the first failing thread raised."""
        if time.monotonic() > until:
            raise CriuError("there is no time left in which to write memory")
        crew: list[threading.Thread] = []
        try:
            for _ in range(threads):
                thread = threading.Thread(target=self._labour, daemon=True)
                thread.start()
                crew.append(thread)
            for thread in crew:
                while thread.is_alive():
                    thread.join(_PROGRESS_S)
                    progress(self.done)
                    if time.monotonic() > until and not self._stop:
                        self._fail(CriuError(f"memory was not written in time: {self.done >> 20} MiB were"))
        finally:
            self._stop = True
            for thread in crew:
                thread.join()
        if self._error is not None:
            raise self._error
        progress(self.done)

    def _labour(self) -> None:
        buffer = _Buffer()
        try:
            while (piece := self._next()) is not None:
                cached = _in_page_cache(piece)
                size = _write_mapped(piece) if cached else _write_read(piece, buffer)
                with self._lock:
                    self.done += size
                    self.mapped += size if cached else 0
        except (OSError, MemoryError) as error:
            self._fail(CriuError(f"memory: {error}"))
        except BaseException as error:  # noqa: BLE001 - raised again by work(): a piece is missing
            self._fail(error)
        finally:
            buffer.free()

    def _next(self) -> _Piece | None:
        with self._lock:
            return None if self._stop else next(self._pieces, None)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._stop = True
            self._error = self._error or error


class _Buffer:
    """A thread's own memory for direct reads, made when first wanted."""

    def __init__(self) -> None:
        self._address = 0

    @property
    def address(self) -> int:
        if not self._address:
            self._address = _map(PIECE, _PROT_READ | _PROT_WRITE, _MAP_PRIVATE | _MAP_ANONYMOUS, -1, 0)
            _libc.madvise(self._address, PIECE, _MADV_HUGEPAGE)
        return self._address

    def free(self) -> None:
        if self._address:
            _libc.munmap(self._address, PIECE)


def _suitable(pieces: list[_Piece]) -> int:
    here = max(FEWEST_THREADS, min(MOST_THREADS, len(os.sched_getaffinity(0))))
    sample = pieces[:: max(1, len(pieces) // 16)]
    cold = sum(not _in_page_cache(piece) for piece in sample)
    return max(here, _READERS) if cold * 2 > len(sample) else here


def _open(memory_dir: str, name: str) -> _File:
    path = os.path.join(memory_dir, name)
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        cached = os.open(path, flags)
    except OSError as error:
        raise ImageError(f"memory extent {name} can't be opened: {error.strerror}") from error
    try:
        direct = os.open(path, flags | os.O_DIRECT)
    except OSError:
        direct = -1  # tmpfs before Linux 6.6, some network file systems
    return _File(name, cached, direct)


def _cut(extent: extents.Extent, file: _File, pid: int) -> list[_Piece]:
    """Pieces of at most PIECE bytes of file, cut where huge pages begin."""
    pieces: list[_Piece] = []
    runs: list[tuple[int, int, int]] = []
    for at in range(0, len(extent.runs), 3):
        address, length, offset = extent.runs[at : at + 3]
        while length:
            begin = runs[0][2] if runs else offset
            end = runs[-1][2] + runs[-1][1] if runs else offset
            room = begin + PIECE - offset
            if runs and (offset - end > _FARTHEST or len(runs) == _MOST_RUNS or room < extents.HUGE):
                pieces.append(_Piece(file, pid, tuple(runs)))
                runs = []
                continue
            part = length
            if part > room:
                part = room - (address + room) % extents.HUGE
            runs.append((address, part, offset))
            address, length, offset = address + part, length - part, offset + part
    if runs:
        pieces.append(_Piece(file, pid, tuple(runs)))
    return pieces


def _span(piece: _Piece) -> tuple[int, int]:
    """Where the piece begins in its file, and how many bytes it spans there."""
    begin = piece.runs[0][2]
    return begin, piece.runs[-1][2] + piece.runs[-1][1] - begin


def _in_page_cache(piece: _Piece) -> bool:
    if piece.file.direct < 0:
        return True
    begin, size = _span(piece)
    address = _map(size, _PROT_READ, _MAP_SHARED, piece.file.cached, begin)
    pages = size // extents.PAGE
    resident = (ctypes.c_ubyte * pages)()
    answered = _libc.mincore(address, size, resident) == 0
    _libc.munmap(address, size)
    return answered and sum(resident) * 10 >= pages * 9


def _write_mapped(piece: _Piece) -> int:
    begin, size = _span(piece)
    address = _map(size, _PROT_READ, _MAP_SHARED | _MAP_POPULATE, piece.file.cached, begin)
    try:
        return _write(piece, address - begin)
    finally:
        _libc.munmap(address, size)


def _write_read(piece: _Piece, buffer: _Buffer) -> int:
    begin, size = _span(piece)
    got = 0
    while got < size:
        count = _libc.pread(piece.file.direct, buffer.address + got, size - got, begin + got)
        if count < 0 and ctypes.get_errno() == errno.EINTR:
            continue
        if count <= 0:
            why = os.strerror(ctypes.get_errno()) if count < 0 else "end of file"
            raise ImageError(f"memory extent {piece.file.name} can't be read at byte {begin + got}: {why}")
        got += count
    return _write(piece, buffer.address - begin)


def _write(piece: _Piece, base: int) -> int:
    """Write the runs of a piece; byte ``offset`` of the file lies at ``base + offset`` here."""
    count = len(piece.runs)
    here, there = (_Vector * count)(), (_Vector * count)()
    total = 0
    for at, (address, length, offset) in enumerate(piece.runs):
        here[at] = _Vector(base + offset, length)
        there[at] = _Vector(address, length)
        total += length
    written = _libc.process_vm_writev(piece.pid, here, count, there, count, 0)
    if written != total:
        raise _refusal(piece, written, ctypes.get_errno())
    return total


def _refusal(piece: _Piece, written: int, number: int) -> CriuError | ImageError:
    """What a short write means. The kernel gives the same errno for a bad page here and there, so look."""
    if written < 0 and number != errno.EFAULT:
        return CriuError(f"memory of process {piece.pid} can't be written: {os.strerror(number)}")
    begin, size = _span(piece)
    try:
        with open(f"/proc/self/fd/{piece.file.cached}", "rb", buffering=0) as file:
            file.seek(begin)
            while size > 0 and (data := file.read(min(size, 1 << 20))):
                size -= len(data)
    except OSError as error:
        return ImageError(f"memory extent {piece.file.name} can't be read: {error.strerror}")
    if size > 0:
        return ImageError(f"memory extent {piece.file.name} is shorter than its index says")
    at = piece.runs[0][0] + max(written, 0)
    return CriuError(
        f"process {piece.pid} took {max(written, 0)} bytes at {at:#x}: no such mapping, no memory, or killed"
    )


def _map(size: int, prot: int, flags: int, fd: int, offset: int) -> int:
    address = _libc.mmap(None, size, prot, flags, fd, offset)
    if address is None or address == _MAP_FAILED:
        number = ctypes.get_errno()
        raise CriuError(f"no room to map {size} bytes: {os.strerror(number)}")
    return int(address)
