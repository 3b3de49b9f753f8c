r"""A compile cache in one file: the files' contents in a row, behind them an index of their names and attributes.

    glowplug compile cache 1\n
    {"namespace": …, "key": …, "created": …}\n       who may get it, for the garbage collection
    contents
    {"directories": [[path, mode, uid, gid], …], "files": [[path, mode, uid, gid, mtime_ns, offset, size, crc], …]}
    length of that index and its CRC-32, in 16 and 8 hexadecimal digits

Nothing but regular files and the directories above them can be in it; paths are relative to the container's root.

Hot where a pod gets one: standard library only.
"""

import os
import zlib

from glowplug import jsontext
from glowplug.cache import layout
from glowplug.errors import CacheError

MAGIC = b"glowplug compile cache 1\n"
LONGEST_HEADER = 4096
LONGEST_INDEX = 16 << 20
_TRAILER = 24
_BLOCK = 1 << 20
MODE = 0o777
"""Bits of a mode that are kept: a cache needs no setuid bit."""


class Directory:
    """A directory that has to be there; a parent comes before what is below it."""

    __slots__ = ("gid", "mode", "path", "uid")

    def __init__(self, path: object, mode: object, uid: object, gid: object) -> None:
        self.path = _path(path)
        self.mode = _number(mode) & MODE
        self.uid = _number(uid)
        self.gid = _number(gid)


class File(Directory):
    """A regular file; `offset` and `size`: of its content in the pack."""

    __slots__ = ("crc", "mtime_ns", "offset", "size")

    def __init__(
        self,
        path: object,
        mode: object,
        uid: object,
        gid: object,
        mtime_ns: object,
        offset: object,
        size: object,
        crc: object,
    ) -> None:
        super().__init__(path, mode, uid, gid)
        self.mtime_ns = _number(mtime_ns)
        self.offset = _number(offset)
        self.size = _number(size)
        self.crc = _number(crc)


class Index:
    """What is in a pack."""

    __slots__ = ("directories", "files")

    def __init__(self, directories: list[Directory], files: list[File]) -> None:
        self.directories = directories
        self.files = files

    @property
    def bytes(self) -> int:
        """Of all contents."""
        return sum(file.size for file in self.files)


def open_pack(path: str) -> int:
    """A descriptor of the pack. Raises OSError; CacheError where it is not a private file of the one who runs."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if (status.st_mode & 0o170077, status.st_uid) != (0o100000, os.geteuid()):
        os.close(descriptor)
        raise CacheError(f"compile cache {path}: it is not a file of this user's alone")
    return descriptor


def read_header(descriptor: int) -> dict[str, object]:
    """Raises CacheError, OSError."""
    start = os.pread(descriptor, LONGEST_HEADER, 0)
    magic, header = start[: len(MAGIC)], start[len(MAGIC) :].partition(b"\n")
    if magic != MAGIC or not header[1]:
        raise _damaged()
    return _object(header[0])


def read_index(descriptor: int) -> Index:
    """Raises CacheError where it is damaged, OSError."""
    size = os.fstat(descriptor).st_size
    trailer = os.pread(descriptor, _TRAILER, max(0, size - _TRAILER))
    try:
        length, crc = int(trailer[:16], 16), int(trailer[16:], 16)
    except ValueError:
        raise _damaged() from None
    start = size - _TRAILER - length
    if not 0 <= length <= LONGEST_INDEX or start < len(MAGIC):
        raise _damaged()
    text = os.pread(descriptor, length, start)
    if len(text) != length or zlib.crc32(text) != crc:
        raise _damaged()
    return _index(_object(text), start)


def _index(plain: dict[str, object], end: int) -> Index:
    directories, files = plain.get("directories"), plain.get("files")
    if not isinstance(directories, list) or not isinstance(files, list):
        raise _damaged()
    try:
        found = Index([Directory(*one) for one in directories], [File(*one) for one in files])
    except TypeError:
        raise _damaged() from None
    if any(file.offset + file.size > end for file in found.files):
        raise _damaged()
    return found


def copy_out(descriptor: int, file: File, target: int) -> None:
    """The file's content into an open file. Raises CacheError where it is not what was kept, OSError."""
    done = crc = 0
    while done < file.size:
        block = os.pread(descriptor, min(_BLOCK, file.size - done), file.offset + done)
        if not block:
            raise _damaged()
        crc = zlib.crc32(block, crc)
        done += len(block)
        while block:
            block = block[os.write(target, block) :]
    if crc != file.crc:
        raise _damaged()


class Writer:
    """Writes a pack to an open, empty file. Any method raises OSError."""

    def __init__(self, descriptor: int, namespace: str, key: str, created: float) -> None:
        self._descriptor = descriptor
        self._directories: list[list[object]] = []
        self._files: list[list[object]] = []
        self._end = 0
        header = jsontext.dumps({"namespace": namespace, "key": key, "created": created})
        self._write(MAGIC + header.encode() + b"\n")

    @property
    def files(self) -> int:
        """So many are in it."""
        return len(self._files)

    def directory(self, path: str, status: os.stat_result) -> None:
        """A directory, before what is below it."""
        self._directories.append([path, status.st_mode & MODE, status.st_uid, status.st_gid])

    def file(self, path: str, source: int, limit: int) -> int:
        """A regular file that is open; the bytes of it, or -1 where it is longer than `limit`, or changed meanwhile.
        Then it is left out.
        """
        before = os.fstat(source)
        start, crc = self._end, 0
        while self._end - start <= min(limit, before.st_size):
            block = os.read(source, _BLOCK)
            if not block:
                break
            crc = zlib.crc32(block, crc)
            self._write(block)
        size, after = self._end - start, os.fstat(source)
        same = (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
            size,
            after.st_mtime_ns,
            after.st_ctime_ns,
        )
        if not same or size > limit:
            self._end = start
            os.ftruncate(self._descriptor, start)
            return -1
        mode = before.st_mode & MODE
        self._files.append([path, mode, before.st_uid, before.st_gid, before.st_mtime_ns, start, size, crc])
        return size

    def finish(self) -> None:
        """The index, and all of it on the disk. Raises CacheError where the names are too many."""
        text = jsontext.dumps({"directories": self._directories, "files": self._files}).encode()
        if len(text) > LONGEST_INDEX:
            raise CacheError(
                f"the names of a compile cache take {len(text)} bytes, at most {LONGEST_INDEX} are kept"
            )
        self._write(text + b"%016x%08x" % (len(text), zlib.crc32(text)))
        os.fsync(self._descriptor)

    def _write(self, block: bytes) -> None:
        while block:
            written = os.pwrite(self._descriptor, block, self._end)
            self._end += written
            block = block[written:]


def _path(value: object) -> str:
    if not isinstance(value, str) or not layout.is_inside(value):
        raise _damaged()
    return value


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise _damaged()
    return value


def _object(text: bytes) -> dict[str, object]:
    try:
        found = jsontext.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _damaged()
    return found


def _damaged() -> CacheError:
    return CacheError("a compile cache that is damaged")
