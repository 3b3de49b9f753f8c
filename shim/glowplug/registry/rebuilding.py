"""Packs made again from the checkpoints of this node: the same bytes as in the registry, or none.

A chunk's content is read where its file has it, compressed as a push does, and encrypted under the key that the index
has. Another release of zstd may compress it to another frame: its blake3 shows that, and the pack is not served.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from glowplug.errors import RegistryError, RegistryMiss
from glowplug.registry import index, seal
from glowplug.registry.index import Chunk, Entry, Index

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk of a pack, and where this node has its content."""

    chunk: Chunk
    directory: str
    offset: int
    files: tuple[Entry, ...]


class Source:
    """The chunks of one checkpoint, by pack. `directory`: where its files lie; leased by who calls."""

    def __init__(self, directory: str, listed: Index) -> None:
        self._directory = directory
        self._files: dict[int, list[Entry]] = {}
        for entry in listed.entries:
            if entry.size:
                self._files.setdefault(entry.at[0], []).append(entry)
        self._of_pack: dict[str, list[tuple[Chunk, int, int]]] = {}
        placed: set[int] = set()
        for number, stream, offset in index.places(listed):
            if number not in placed:
                placed.add(number)
                chunk = listed.chunks[number]
                self._of_pack.setdefault(listed.packs[chunk.pack], []).append((chunk, stream, offset))

    def pieces(self, pack: str) -> Iterable[Piece]:
        """Its chunks in a pack, by the pack's digest."""
        for chunk, stream, offset in self._of_pack.get(pack, ()):
            yield Piece(chunk, self._directory, offset, tuple(self._files.get(stream, ())))


def pack(size: int, pieces: Iterable[Piece]) -> bytearray:
    """The pack of that size. Raises RegistryMiss where the pieces are not all of it, or give other bytes; OSError."""
    made = bytearray(size)
    at = 0
    for piece in sorted(pieces, key=lambda one: one.chunk.offset):
        if piece.chunk.offset < at:
            continue  # another checkpoint has the same chunk
        blob = seal.seal_again(_content(piece), piece.chunk.id, piece.chunk.key)
        if piece.chunk.offset != at or at + len(blob) > size:
            break
        made[at : at + len(blob)] = blob
        at += len(blob)
    if at != size:
        raise RegistryMiss("incomplete", f"this node has {at} of the pack's {size} bytes")
    return made


def _content(piece: Piece) -> bytes:
    """What is between two files of a stream is zeros. Raises OSError, RegistryError."""
    content = bytearray(piece.chunk.length)
    end = piece.offset + piece.chunk.length
    for entry in piece.files:
        begin, until = max(piece.offset, entry.at[1]), min(end, entry.at[1] + entry.size)
        if begin >= until:
            continue
        with open(os.open(f"{piece.directory}/{entry.path}", _FLAGS), "rb", buffering=0) as file:
            part = os.pread(file.fileno(), until - begin, begin - entry.at[1])
        if len(part) < until - begin:
            raise RegistryError(f"{entry.path}: it is shorter than it was when it was pushed")
        content[begin - piece.offset : until - piece.offset] = part
    return bytes(content)
