"""A checkpoint's directory as entries and streams of bytes, in an order that depends on its content alone.

Small files share the first stream, one behind the other; each larger one has a stream of its own. A hole of a file
is a hole of its stream and is not read. The checkpoint must be leased: it is published, so it does not change.
"""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from glowplug.cache import layout
from glowplug.errors import RegistryError
from glowplug.layer import attributes
from glowplug.registry import chunks, index
from glowplug.registry.index import Entry

SMALL = 128 << 10
"""Bytes; files below share a stream."""

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_WINDOW = 16 << 20  # bytes; at least twice the largest chunk
_TYPES = {
    stat.S_IFREG: index.FILE,
    stat.S_IFDIR: index.DIRECTORY,
    stat.S_IFLNK: index.SYMLINK,
    stat.S_IFCHR: index.CHARACTER,
    stat.S_IFBLK: index.BLOCK,
    stat.S_IFIFO: index.FIFO,
    stat.S_IFSOCK: index.SOCKET,
}


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a directory. `streams`: of each the paths of its files, in order."""

    directory: str
    entries: tuple[Entry, ...]
    streams: tuple[tuple[Entry, ...], ...]


def content(directory: str) -> Content:
    """All of it but the manifest. Raises RegistryError, OSError."""
    entries: list[Entry] = []
    small: list[Entry] = []
    large: list[tuple[Entry, ...]] = []
    links: dict[tuple[int, int], str] = {}
    end = 0
    for path, status in _walk(directory):
        entry = _entry(directory, path, status, links)
        if entry.type == index.FILE and entry.size:
            if entry.size < SMALL:
                end = _aligned(end, entry.size)
                entry = _placed(entry, 0, end)
                end += entry.size
                small.append(entry)
            else:
                entry = _placed(entry, 1 + len(large), 0)
                large.append((entry,))
        entries.append(entry)
    return Content(directory, tuple(entries), (tuple(small), *large))


Piece = bytes | memoryview | int
"""A chunk's content, or the length of a hole."""


def pieces(found: Content, stream: int) -> Iterator[Piece]:
    """The stream's chunks in order. Raises OSError, RegistryError."""
    files = found.streams[stream]
    if stream == 0:
        yield from _cut(_packed(found.directory, files), chunks.scale(sum(file.size for file in files)))
    else:
        yield from _of_file(f"{found.directory}/{files[0].path}", files[0].size)


def _of_file(path: str, size: int) -> Iterator[Piece]:
    with open(os.open(path, _FLAGS), "rb", buffering=0) as file:
        at = 0
        for begin, end in _data(file.fileno(), size):
            if begin > at:
                yield begin - at
            yield from _cut_file(file.fileno(), begin, end, chunks.scale(size))
            at = end
        if at < size:
            yield size - at


def _cut_file(descriptor: int, at: int, end: int, factor: int) -> Iterator[Piece]:
    """The file's chunks from at to end, each a view of what was read; what a window leaves over is read again."""
    while at < end:
        size = min(_WINDOW, end - at)
        window = memoryview(os.pread(descriptor, size, at))
        if len(window) < size:
            raise RegistryError("a file of the checkpoint ended early: verify the checkpoint")
        begin = 0
        for cut in chunks.cuts(window, factor, is_last=at + size == end):
            piece = window[begin:cut]
            yield len(piece) if _is_zero(piece) else piece
            begin = cut
        at += begin


def _cut(parts: Iterator[bytes], factor: int) -> Iterator[Piece]:
    """Parts of any size, cut again; pages of zeros alone are a hole."""
    rest = bytearray()
    ended = False
    while not ended:
        part = next(parts, None)
        ended = part is None
        rest += part or b""
        if not ended and len(rest) < _WINDOW:
            continue
        begin = 0
        with memoryview(rest) as window:
            for end in chunks.cuts(window, factor, is_last=ended):
                piece = bytes(window[begin:end])
                yield len(piece) if _is_zero(piece) else piece
                begin = end
        del rest[:begin]


def _packed(directory: str, files: tuple[Entry, ...]) -> Iterator[bytes]:
    at = 0
    for file in files:
        with open(os.open(f"{directory}/{file.path}", _FLAGS), "rb", buffering=0) as opened:
            read = opened.read(file.size + 1)
        if len(read) != file.size:
            raise RegistryError(
                f"{file.path}: its size is not the one that was listed: verify the checkpoint"
            )
        yield bytes(file.at[1] - at) + read
        at = file.at[1] + file.size


def _data(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Where the file has data (lseek(2), SEEK_DATA)."""
    at = 0
    while at < size:
        try:
            begin = os.lseek(descriptor, at, os.SEEK_DATA)
            at = min(os.lseek(descriptor, begin, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data from here on
                return
            raise
        yield begin, at


def _is_zero(piece: bytes | memoryview) -> bool:
    return not piece[0] and not piece[-1] and bytes(piece).count(0) == len(piece)


def _aligned(at: int, size: int) -> int:
    """Files of a page or more begin at a page, so that their chunks do not depend on what is before them."""
    return at if size < chunks.PAGE else (at + chunks.PAGE - 1) // chunks.PAGE * chunks.PAGE


def _placed(entry: Entry, stream: int, offset: int) -> Entry:
    return Entry(**{name: getattr(entry, name) for name in Entry.__slots__} | {"at": (stream, offset)})


def _walk(directory: str) -> Iterator[tuple[str, os.stat_result]]:
    """Parents first, siblings by their names' bytes."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        for name in sorted(os.listdir(f"{directory}/{below}"), key=os.fsencode):
            path = f"{below}{name}"
            index.require_path(path)
            status = os.lstat(f"{directory}/{path}")
            if path == layout.MANIFEST:
                continue
            yield path, status
            if stat.S_ISDIR(status.st_mode):
                waiting.append(f"{path}/")


def _entry(directory: str, path: str, status: os.stat_result, links: dict[tuple[int, int], str]) -> Entry:
    full = f"{directory}/{path}"
    kind = _TYPES[stat.S_IFMT(status.st_mode)]
    in_tree = index.is_in_tree(path)
    link = ""
    if in_tree and kind != index.DIRECTORY and status.st_nlink > 1:
        first = links.setdefault((status.st_dev, status.st_ino), path)
        link = first if first != path else ""
    return Entry(
        path=path,
        type=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid if in_tree else 0,
        gid=status.st_gid if in_tree else 0,
        mtime_ns=status.st_mtime_ns if in_tree else 0,
        size=status.st_size if kind == index.FILE and not link else 0,
        target=os.readlink(full) if kind == index.SYMLINK else "",
        device=(os.major(status.st_rdev), os.minor(status.st_rdev))
        if kind in (index.CHARACTER, index.BLOCK)
        else (0, 0),
        link=link,
        attributes={name: value.hex() for name, value in attributes.read(full)}
        if in_tree and not link
        else {},
    )
