"""The digest of a big file by its blocks, so that damage can be located, and repaired, block by block.

The digest in the manifest is the blake3 of the blocks' own blake3 digests, in their order. Those are in
blocks.json beside the manifest, for who wants to know which block it was: they need not be trusted, since
together they must give the manifest's digest, and no answer to a start waits for them to be read.

Blocks are hashed side by side; a block that is a hole in the file is not read. On the agent's side.
"""

import errno
import functools
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from blake3 import blake3

from glowplug import jsontext
from glowplug.cache import disk, layout
from glowplug.errors import CacheError

BLOCK = 64 << 20
"""Bytes. 16 threads find work in 1 GB, and 100 GB have a list of 100 KB. Another size is another algorithm."""
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = 1 << 20  # bytes; stays in a CPU's cache until it is hashed
_VERSION = 1


def digests(directory: str, path: str) -> list[str]:
    """blake3 of each block of a regular file, in hexadecimal. Raises CacheError: it can't be read, and where."""
    try:
        with open(os.open(f"{directory}/{path}", _FLAGS), "rb", buffering=0) as file:
            fd, size = file.fileno(), os.fstat(file.fileno()).st_size
            starts = range(0, size, BLOCK)
            with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
                return list(pool.map(lambda start: _digest(fd, start, min(BLOCK, size - start)), starts))
    except OSError as error:
        raise CacheError(f"{path}: {error.strerror}") from error


def digest(of_blocks: Sequence[str]) -> str:
    """The file's digest, in hexadecimal, from those of its blocks."""
    return blake3("".join(of_blocks).encode()).hexdigest()


def write(directory: str, files: Mapping[str, Sequence[str]]) -> None:
    """blocks.json of the checkpoint in directory: the digests of blocks, by the file's path. Raises CacheError."""
    content = jsontext.dumps({"version": _VERSION, "block": BLOCK, "files": dict(files)})
    try:
        disk.write_file(f"{directory}/{layout.BLOCKS}", content.encode())
    except OSError as error:
        raise CacheError(f"{layout.BLOCKS}: {error.strerror}") from error


def changed(directory: str, path: str, found: Sequence[str], wanted: str) -> list[int]:
    """Numbers, from 0, of the blocks that are not as listed; none where the list is missing or damaged itself.

    found: the digests of the blocks as they are. wanted: the file's digest by the manifest.
    """
    listed = _listed(directory, path)
    if len(listed) != len(found) or digest(listed) != wanted:
        return []
    return [number for number, pair in enumerate(zip(listed, found, strict=True)) if pair[0] != pair[1]]


def place(number: int, size: int) -> str:
    """Where a block is in a file of size bytes, for a person."""
    return f"block {number}: bytes {number * BLOCK} to {min((number + 1) * BLOCK, size) - 1}"


def _listed(directory: str, path: str) -> list[str]:
    try:
        with open(f"{directory}/{layout.BLOCKS}", "rb") as file:
            content = jsontext.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return []
    files = content.get("files") if isinstance(content, dict) else None
    listed = files.get(path) if isinstance(files, dict) else None
    return listed if isinstance(listed, list) and all(isinstance(one, str) for one in listed) else []


def _digest(descriptor: int, start: int, length: int) -> str:
    if _is_hole(descriptor, start, length):
        return _zeros(length)
    state = blake3()
    buffer = memoryview(bytearray(min(_READ, length)))
    at, end = start, start + length
    while at < end:
        try:
            count = os.preadv(descriptor, [buffer[: end - at]], at)
        except OSError as error:
            raise OSError(error.errno, f"{place(start // BLOCK, end)}: {error.strerror}") from error
        if not count:
            break  # cut short while it was read; then the digest is another one
        state.update(buffer[:count])
        at += count
    return state.hexdigest()


def _is_hole(descriptor: int, start: int, length: int) -> bool:
    """Whether a block has no data on the disk: it reads as zeros (lseek(2), SEEK_DATA)."""
    try:
        return os.lseek(descriptor, start, os.SEEK_DATA) >= start + length
    except OSError as error:
        return error.errno == errno.ENXIO  # no data from here on; another: a file system that does not know


@functools.cache
def _zeros(length: int) -> str:
    """Of so many zero bytes."""
    state = blake3()
    for at in range(0, length, _READ):
        state.update(bytes(min(_READ, length - at)))
    return state.hexdigest()
