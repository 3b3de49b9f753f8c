"""Write memory extents into restored processes: many threads, each copying its piece through the kernel.

The processes exist, have their mappings as CRIU made them, and do not run. Each piece is written with
process_vm_writev(2), through the process's own mapping, so that its pages are charged to the container's
memory limit and come as huge pages where the mapping asks for them. Python lets go of its lock during these
calls, so threads work side by side. Shared memory in small pages is left to a helper, where it can (shared.py).

Used by the runtime: standard library only.
"""

import errno
import os
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from glowplug.criu import calls, extents
from glowplug.criu.chunks import PIECE, Buffer, File, Piece, close_file, cut, is_cached, mapped, open_file
from glowplug.criu.shared import Helper
from glowplug.errors import CriuError, ImageError, NotForced

FEWEST_THREADS, MOST_THREADS = 4, 16
_READERS = 8
"""Threads at least, where a disk is to be read: they wait for it most of the time."""
_PROGRESS_S = 0.1
FORCED_PIECE = 4 << 20
"""Bytes: there is little of it, and each of its pages is looked up, so many threads are to share it."""

Progress = Callable[[int, int], None]


class Filled(NamedTuple):
    """What a fill did."""

    bytes: int
    seconds: float
    helped: int
    """Bytes that the helper wrote."""


class Fill:
    """All extents of a checkpoint, ready to be written: of thousands of runs, it takes as long to get them ready as to
    write them, and no process is needed for it. A context, which closes the data files."""

    def __init__(self, memory_dir: str, read_only_dir: str | None = None) -> None:
        """memory_dir: the checkpoint's `memory/`. read_only_dir: where there are further extents, which are forced
        upon read-only mappings (forced.py). Raises ImageError: missing, short or invalid."""
        self._files: dict[str, File] = {}
        self._pieces: list[Piece] = []
        try:
            if read_only_dir is not None:  # first: to each process few of them are written at a time
                self._add(read_only_dir, FORCED_PIECE, forced=True)
            self._add(memory_dir)
            self._pids = {piece.pid for piece in self._pieces}
            self.bytes = sum(piece.bytes for piece in self._pieces)
        except OSError as error:
            self.__exit__()
            raise CriuError(f"memory: {error}") from error
        except BaseException:
            self.__exit__()
            raise

    def _add(self, folder: str, most: int = PIECE, forced: bool = False) -> None:
        for extent in extents.load(folder):
            path = f"{folder}/{extent.data}"
            if path not in self._files:
                self._files[path] = open_file(folder, extent.data)
            pieces = cut(extent, self._files[path], most)
            self._pieces += [piece._replace(forced=True) for piece in pieces] if forced else pieces

    def __enter__(self) -> "Fill":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            close_file(file)
        self._files = {}

    def begin(
        self,
        hosts: Mapping[int, int],
        until: float,
        urgent: Collection[int] | None = None,
        threads: int = 0,
    ) -> "Writing":
        """Begin to write them into the restored processes; a context, which ends the writing.

        hosts: pid in the container → pid here, of processes that wait. until: time.monotonic() at which to give up.
        urgent: the processes, by their pids in the container, whose memory is needed first, with all memory that may be
        shared; None for all. threads: how many, 0 for as many as suit this node. Raises CriuError.
        """
        lost = sorted(self._pids - set(hosts))
        if lost:
            raise CriuError(
                f"the restored tree lacks process {lost[0]}, for which the checkpoint holds memory"
            )

        def can_wait(piece: Piece) -> bool:
            return urgent is not None and piece.private and piece.pid not in urgent

        first = [piece for piece in self._pieces if not can_wait(piece)]
        later = [piece for piece in self._pieces if can_wait(piece)]
        pieces = [piece._replace(pid=hosts[piece.pid]) for piece in first + later]
        try:
            return _begin(pieces, len(first), until, threads)
        except OSError as error:
            raise CriuError(f"memory: {error}") from error


def _begin(pieces: list[Piece], urgent: int, until: float, threads: int) -> "Writing":
    """As many threads as suit these pieces."""
    if time.monotonic() > until:
        raise CriuError("there is no time left in which to write memory")
    here = min(MOST_THREADS, len(os.sched_getaffinity(0)))
    if _are_cold(pieces):
        return Writing(pieces, urgent, until, threads or max(here, _READERS))
    helper = Helper(pieces, threads or here)
    return Writing(pieces, urgent, until, threads or max(here, FEWEST_THREADS), helper)


def _are_cold(pieces: list[Piece]) -> bool:
    sample = pieces[:: max(1, len(pieces) // 16)]
    return sum(not is_cached(piece) for piece in sample) * 2 > len(sample)


class Writing:
    """Threads that take pieces until there are none, one of them fails, or they are stopped. A context: no thread is
    left writing after it."""

    def __init__(
        self, pieces: list[Piece], urgent: int, until: float, threads: int, helper: Helper | None = None
    ) -> None:
        """urgent: how many of the pieces, from the first on, `wait_urgent` waits for."""
        self._pieces = pieces
        self._urgent = urgent
        self._until = until
        self._helper = helper
        self._theirs = set(helper.numbers) if helper else set()
        self._ours = deque(number for number in range(len(pieces)) if number not in self._theirs)
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._stop = False
        self._left, self._urgent_left = len(pieces), urgent
        self._done = self._helped = 0
        self._began = time.monotonic()
        self.ended: float | None = None
        """When all was written: time.monotonic()."""
        self._writers: list[threading.Thread] = []
        try:
            for task in [self._labour] * threads + [self._hear] * bool(self._theirs):
                thread = threading.Thread(target=self._run, args=(task,), daemon=True)
                thread.start()
                self._writers.append(thread)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> "Writing":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        if self._helper:
            self._helper.stop()  # then there is nothing more to hear from it
        for thread in self._writers:
            thread.join()
        if self._helper:
            self._helper.__exit__()

    def wait(self, progress: Progress | None = None) -> Filled:
        """Until all is written. progress: called now and then with (bytes done, bytes in all).

        Raises ImageError (the checkpoint's fault: data that can't be read) or CriuError (the process's or the node's:
        no such mapping, process gone, out of memory, out of time).
        """
        self._wait(lambda: self._left, progress)
        return Filled(self._done, (self.ended or self._began) - self._began, self._helped)

    def wait_urgent(self, progress: Progress | None = None) -> None:
        """Until the urgent part is written. Else as `wait`."""
        self._wait(lambda: self._urgent_left, progress)

    def _wait(self, left: Callable[[], int], progress: Progress | None) -> None:
        total = sum(piece.bytes for piece in self._pieces)
        over = False
        while not over:
            with self._changed:
                over = self._changed.wait_for(lambda: not left() or self._error is not None, _PROGRESS_S)
            if progress is not None:
                progress(self._done, total)
            if not over and time.monotonic() > self._until:
                self._fail(CriuError(f"memory was not written in time: {self._done >> 20} MiB were"))
        if self._error is not None:
            raise self._error

    def _run(self, task: Callable[[], None]) -> None:
        """A thread, from its first step to its end: whatever it raises, `wait` raises again."""
        try:
            task()
        except (OSError, MemoryError) as error:
            self._fail(CriuError(f"memory: {error}"))
        except BaseException as error:  # noqa: BLE001 - not lost: a piece is missing
            self._fail(error)

    def _labour(self) -> None:
        """Write pieces until there are none."""
        buffer = Buffer()
        try:
            while (number := self._next()) is not None:
                piece = self._pieces[number]
                if is_cached(piece):
                    with mapped(piece):
                        _write(piece, piece.here)
                else:
                    _write(piece, buffer.read(piece))
                self._count(number)
        finally:
            buffer.free()

    def _hear(self) -> None:
        """Count what the helper does, and do what it has left."""
        assert self._helper is not None
        for number in self._helper.done():
            self._theirs.discard(number)
            self._count(number, helped=True)
        with self._changed:
            self._ours.extend(sorted(self._theirs))
        self._labour()

    def _count(self, number: int, helped: bool = False) -> None:
        size = self._pieces[number].bytes
        with self._changed:
            self._done += size
            self._helped += size if helped else 0
            self._left -= 1
            self._urgent_left -= number < self._urgent
            if not self._left:
                self.ended = time.monotonic()
            if not self._left or not self._urgent_left:
                self._changed.notify_all()

    def _next(self) -> int | None:
        """The number of a piece that nobody has taken yet."""
        with self._changed:
            return self._ours.popleft() if self._ours and not self._stop else None

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._stop = True
            self._error = self._error or error
            self._changed.notify_all()


def _write(piece: Piece, here: "array[int]") -> None:
    """Write the runs of a piece. here: address, length; … of the bytes of each."""
    write = calls.force_process if piece.forced else calls.write_process
    written = 0
    try:
        written = write(piece.pid, here, piece.there)
    except OSError as error:
        if error.errno != errno.EFAULT:
            failure = NotForced if piece.forced else CriuError
            raise failure(f"memory of process {piece.pid} can't be written: {error.strerror}") from error
    if written != piece.bytes:
        raise _refusal(piece, written)


def _refusal(piece: Piece, written: int) -> CriuError | ImageError:
    """What a short write means. The kernel says the same of a bad page here and there, so look."""
    begin, size = piece.begin, piece.span
    try:
        with open(f"/proc/self/fd/{piece.file.cached}", "rb", buffering=0) as file:
            file.seek(begin)
            while size > 0 and (data := file.read(min(size, 1 << 20))):
                size -= len(data)
    except OSError as error:
        return ImageError(f"memory extent {piece.file.name} can't be read: {error.strerror}")
    if size > 0:
        return ImageError(f"memory extent {piece.file.name} is shorter than its index says")
    return (NotForced if piece.forced else CriuError)(
        f"process {piece.pid} took {written} bytes at {piece.runs[0][0]:#x}: no such mapping, no memory, or killed"
    )
