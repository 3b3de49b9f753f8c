"""The index of an artifact: its packs and chunks, the streams that they make, the files that are in those. No I/O.

`loads` takes nothing on trust, for a path in it becomes a path on the node: it raises RegistryMiss for all that
is not an index, and what it returns can be written beneath one directory with every parent made before its children.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from glowplug.cache import layout
from glowplug.errors import RegistryError, RegistryMiss
from glowplug.registry import chunks, names

VERSION = 1
LIMIT = 256 << 20
"""Bytes of an index, as JSON."""
LONGEST_PATH = 3000
"""Bytes; a deeper tree stays on its node."""

FILE, DIRECTORY, SYMLINK = "file", "directory", "symlink"
CHARACTER, BLOCK, FIFO, SOCKET = "character", "block", "fifo", "socket"
TYPES = (FILE, DIRECTORY, SYMLINK, CHARACTER, BLOCK, FIFO, SOCKET)
_PLACES = ("images", "memory", "layer", "shm", "volumes")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where it is: a pack, and `size` bytes in it; the key that opens them (empty where they are plain), the bytes of
    what is in them. `id`: blake3 of the zstd frame."""

    id: str
    key: bytes
    length: int
    pack: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or directory. `at`: stream and offset of its content; `link`: an earlier path that it is one with.

    Outside of the container's own trees there are files and directories alone, and both are root's.
    """

    path: str
    type: str
    mode: int = 0o600
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    size: int = 0
    at: tuple[int, int] = (0, 0)
    target: str = ""
    device: tuple[int, int] = (0, 0)
    link: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)  # extended attributes, in hexadecimal


@dataclass(frozen=True, slots=True)
class Index:
    """`streams`: of each the numbers of its chunks in order; a negative number is a hole of so many bytes.

    `manifest`: the bytes of the checkpoint's own manifest.json. `packs`: digests of the blobs with the chunks.
    """

    manifest: bytes
    packs: tuple[str, ...]
    chunks: tuple[Chunk, ...]
    streams: tuple[tuple[int, ...], ...]
    entries: tuple[Entry, ...]

    def size_of(self, stream: int) -> int:
        """Bytes of a stream."""
        return sum(-item if item < 0 else self.chunks[item].length for item in self.streams[stream])

    @property
    def bytes(self) -> int:
        """Of all files' content."""
        return sum(entry.size for entry in self.entries)


def dumps(found: Index) -> bytes:
    """The index as JSON."""
    plain = {
        "version": VERSION,
        "manifest": found.manifest.decode(),
        "packs": list(found.packs),
        "chunks": [
            [one.id, one.key.hex(), one.length, one.pack, one.offset, one.size] for one in found.chunks
        ],
        "streams": [list(stream) for stream in found.streams],
        "entries": [_plain(entry) for entry in found.entries],
    }
    return json.dumps(plain, separators=(",", ":")).encode()


def loads(data: bytes) -> Index:
    """The index, every rule of it checked. Raises RegistryMiss."""
    try:
        plain = json.loads(data)
        version = plain["version"]
        if type(version) is int and version > VERSION:
            raise RegistryMiss(
                "newer-artifact", f"an artifact of version {version}: a newer Glowplug made it"
            )
        found = Index(
            manifest=str(plain["manifest"]).encode(),
            packs=tuple(_digest(pack) for pack in plain["packs"]),
            chunks=tuple(_chunk(*chunk) for chunk in plain["chunks"]),
            streams=tuple(tuple(_number(item) for item in stream) for stream in plain["streams"]),
            entries=tuple(_entry(entry) for entry in plain["entries"]),
        )
        _require_streams(found)
        _require_places(found)
    except RegistryMiss:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise RegistryMiss(
            "damaged", f"the index is of another form ({type(error).__name__}: {error})"[:300]
        ) from error
    return found


def _plain(entry: Entry) -> dict[str, object]:
    """Only what is not its default."""
    said: dict[str, object] = {"path": entry.path, "type": entry.type, "mode": entry.mode}
    for name in ("uid", "gid", "mtime_ns", "size", "at", "target", "device", "link", "attributes"):
        value = getattr(entry, name)
        if value and value != (0, 0):
            said[name] = value
    return said


def _digest(value: object) -> str:
    if not names.is_digest(value):
        raise ValueError("no digest")
    return str(value)


def _chunk(id: object, key: object, length: object, pack: object, offset: object, size: object) -> Chunk:
    if not isinstance(id, str) or len(id) != 64 or not isinstance(key, str) or len(key) not in (0, 64):
        raise ValueError("a chunk without id and key")
    found = Chunk(id, bytes.fromhex(key), _natural(length), _natural(pack), _natural(offset), _natural(size))
    if not 0 < found.length <= chunks.LIMIT or not 0 < found.size <= chunks.PACK_LIMIT:
        raise ValueError("a chunk of an invalid length")
    return found


def _number(value: object) -> int:
    if type(value) is not int or abs(value) >= 1 << 62:
        raise ValueError("no integer")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("no text")
    return value


def _pair(value: list[object]) -> tuple[int, int]:
    first, second = (_natural(item) for item in value)
    return first, second


def _natural(value: object) -> int:
    number = _number(value)
    if number < 0:
        raise ValueError("a negative number")
    return number


def _entry(plain: dict[str, Any]) -> Entry:
    known: dict[str, Any] = {
        "path": _text,
        "type": _text,
        "mode": _natural,
        "uid": _natural,
        "gid": _natural,
        "mtime_ns": _number,
        "size": _natural,
        "at": _pair,
        "target": _text,
        "device": _pair,
        "link": _text,
        "attributes": _attributes,
    }
    found = Entry(**{name: known[name](value) for name, value in plain.items()})
    if found.type not in TYPES or found.mode > 0o7777 or max(found.uid, found.gid) > 0xFFFFFFFE:
        raise ValueError("a file with an invalid type, mode or owner")
    return found


def _attributes(value: dict[str, str]) -> dict[str, str]:
    for name, content in value.items():
        _text(name)
        bytes.fromhex(content)
    return dict(value)


def _require_streams(found: Index) -> None:
    count = len(found.chunks)
    if any(chunk.pack >= len(found.packs) for chunk in found.chunks):
        raise ValueError("a chunk in a pack that is not there")
    for number, stream in enumerate(found.streams):
        if any(item >= count for item in stream):
            raise ValueError(f"stream {number} names a chunk that is not there")
    sizes = [found.size_of(number) for number in range(len(found.streams))]
    for entry in found.entries:
        if entry.size and (entry.at[0] >= len(sizes) or entry.at[1] + entry.size > sizes[entry.at[0]]):
            raise ValueError("a file that is outside of its stream")
        if entry.size and (entry.type != FILE or entry.link):
            raise ValueError("content of an entry that is not a file")


def _require_places(found: Index) -> None:
    """Each path is plain and appears once, its parent before it; links lead to earlier files."""
    seen: dict[str, Entry] = {}
    for entry in found.entries:
        path = entry.path
        if (
            not layout.is_inside(path)
            or len(path.encode(errors="surrogateescape")) > LONGEST_PATH
            or path in seen
        ):
            raise ValueError("a path that is invalid or appears twice")
        parent, _, _ = path.rpartition("/")
        if parent and (parent not in seen or seen[parent].type != DIRECTORY):
            raise ValueError("a path whose directory does not come before it")
        if path.partition("/")[0] not in _PLACES and path != layout.BLOCKS:
            raise ValueError("a path outside of a checkpoint's places")
        if not is_in_tree(path) and entry.type not in (FILE, DIRECTORY):
            raise ValueError("a special file outside of the container's trees")
        if entry.link and (
            entry.link not in seen or seen[entry.link].type != entry.type or seen[entry.link].link
        ):
            raise ValueError("a hard link to a file that does not come before it")
        if entry.link and (entry.type == DIRECTORY or not (is_in_tree(path) and is_in_tree(entry.link))):
            raise ValueError("a hard link that its type or place can't have")
        seen[path] = entry


def is_in_tree(path: str) -> bool:
    """Whether it is a container's own tree or is in one (cache/layout.py)."""
    parts = path.split("/")
    return any(layout.is_tree("/".join(parts[:count])) for count in (2, 3) if len(parts) >= count)


def require_path(path: str) -> None:
    """Raises RegistryError for a path that no index holds."""
    if len(path.encode(errors="surrogateescape")) > LONGEST_PATH:
        raise RegistryError(
            f"a directory of the container is nested deeper than {LONGEST_PATH} bytes of path"
        )


def places(found: Index) -> Iterator[tuple[int, int, int]]:
    """(chunk, stream, offset in the stream) of every place that a chunk has."""
    for number, stream in enumerate(found.streams):
        at = 0
        for item in stream:
            if item < 0:
                at -= item
            else:
                yield item, number, at
                at += found.chunks[item].length
