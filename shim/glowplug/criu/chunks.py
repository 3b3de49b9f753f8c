"""Memory extents in pieces that one thread writes at a time, and where the bytes of a piece come from.

Mapped, if they are in the page cache; otherwise read past it (O_DIRECT) into a buffer of the thread, so that a
cold disk sees large reads and nobody's cache is washed out.

Used by the runtime: standard library only.
"""

import os
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from glowplug.criu import calls, extents
from glowplug.errors import ImageError

PIECE = 16 << 20
"""Bytes in one system call at most: huge enough to be worth it, small enough to share out evenly."""
_MOST_RUNS = 512  # per system call; the kernel takes 1024 (UIO_MAXIOV)
_FARTHEST = 128 << 10  # bytes of file between runs of one piece, read for nothing


class File(NamedTuple):
    """A data file of extents, open."""

    name: str
    cached: int
    direct: int
    """The same file opened for direct reads, or -1 where its file system has none."""
    base: int
    """Where the entire file is mapped, to be read. Once: to map each piece would stop all other threads each time."""
    size: int


class Piece(NamedTuple):
    """What is written at once, into one process.

    All that is known before there is a process is worked out then: while threads write, each line of Python makes the
    others wait.
    """

    file: File
    pid: int
    private: bool
    """Whether no other process sees this memory."""
    runs: tuple[tuple[int, int, int], ...]
    """Address, length, offset; upwards, near to each other in the file."""
    stretches: tuple[tuple[int, int], ...]
    """Offset and length of the parts of the file that its runs name; what is between two may be a hole."""
    bytes: int
    """Of memory."""
    there: "array[int]"
    """Address, length; address, length; … in the process."""
    here: "array[int]"
    """The same in the mapping of its file."""
    forced: bool = False
    """Whether its process may only read it."""

    @property
    def begin(self) -> int:
        """Where it begins in its file."""
        return self.runs[0][2]

    @property
    def span(self) -> int:
        """Bytes of the file from its begin to its end."""
        return self.runs[-1][2] + self.runs[-1][1] - self.begin


def _piece(extent: extents.Extent, file: File, runs: list[tuple[int, int, int]]) -> Piece:
    return Piece(
        file,
        extent.pid,
        extent.private,
        tuple(runs),
        _stretches(runs),
        sum(length for _, length, _ in runs),
        array("Q", (word for address, length, _ in runs for word in (address, length))),
        array("Q", (word for _, length, offset in runs for word in (file.base + offset, length))),
    )


def _stretches(runs: list[tuple[int, int, int]]) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    for _, length, offset in runs:
        if found and sum(found[-1]) == offset:
            found[-1] = (found[-1][0], found[-1][1] + length)
        else:
            found.append((offset, length))
    return tuple(found)


def open_file(memory_dir: str, name: str) -> File:
    """A data file of the checkpoint. Raises ImageError."""
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
    size = os.fstat(cached).st_size
    return File(name, cached, direct, calls.map_file(cached, size) if size else 0, size)


def close_file(file: File) -> None:
    """Unmap a file and close its descriptors."""
    if file.size:
        calls.unmap(file.base, file.size)
    os.close(file.cached)
    if file.direct >= 0:
        os.close(file.direct)


def cut(extent: extents.Extent, file: File, most: int = PIECE) -> list[Piece]:
    """Pieces of at most `most` bytes of file, PIECE or less, cut where huge pages begin. Raises ImageError where the
    file is short."""
    if extent.runs and sum(extent.runs[-2:]) > file.size:
        raise ImageError(f"memory extent {file.name} is shorter than its index says")
    pieces: list[Piece] = []
    runs: list[tuple[int, int, int]] = []
    for at in range(0, len(extent.runs), 3):
        address, length, offset = extent.runs[at : at + 3]
        while length:
            begin = runs[0][2] if runs else offset
            end = runs[-1][2] + runs[-1][1] if runs else offset
            space = begin + most - offset
            if runs and (offset - end > _FARTHEST or len(runs) == _MOST_RUNS or space < extents.HUGE):
                pieces.append(_piece(extent, file, runs))
                runs = []
                continue
            part = length
            if part > space:
                part = space - (address + space) % extents.HUGE
            runs.append((address, part, offset))
            address, length, offset = address + part, length - part, offset + part
    if runs:
        pieces.append(_piece(extent, file, runs))
    return pieces


def is_cached(piece: Piece) -> bool:
    """Whether nearly all of it is in the page cache, or can come from nowhere else."""
    if piece.file.direct < 0:
        return True
    found = sum(calls.resident(piece.file.base + offset, size) for offset, size in piece.stretches)
    return found * 10 >= piece.bytes // extents.PAGE * 9


@contextmanager
def mapped(piece: Piece) -> Iterator[None]:
    """With its bytes in our page tables: where its `here` says."""
    for offset, size in piece.stretches:  # in a tmpfs a hole takes memory from when it is looked at
        calls.populate(piece.file.base + offset, size)
    try:
        yield
    finally:
        calls.forget_pages(piece.file.base + piece.begin, piece.span)


class Buffer:
    """A thread's own memory for direct reads, made when first wanted."""

    def __init__(self) -> None:
        self._address = 0

    def read(self, piece: Piece) -> "array[int]":
        """Its bytes, read: as its `here`, in this memory.

        Raises ImageError; OSError where there is no memory for it.
        """
        self._address = self._address or calls.map_memory(PIECE)
        got = 0
        while got < piece.span:
            try:
                count = calls.read(
                    piece.file.direct, self._address + got, piece.span - got, piece.begin + got
                )
            except OSError as error:
                raise _unreadable(piece, got, error.strerror) from error
            if not count:
                raise _unreadable(piece, got, "end of file")
            got += count
        shift = self._address - piece.begin
        return array("Q", (word for _, length, offset in piece.runs for word in (shift + offset, length)))

    def free(self) -> None:
        """Unmap the memory, if it was ever used."""
        if self._address:
            calls.unmap(self._address, PIECE)


def _unreadable(piece: Piece, at: int, why: object) -> ImageError:
    return ImageError(f"memory extent {piece.file.name} can't be read at byte {piece.begin + at}: {why}")
