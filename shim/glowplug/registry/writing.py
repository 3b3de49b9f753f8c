"""The files of an artifact written into a draft, chunk by chunk in any order, by any number of threads.

`Writer` makes everything that has no content first; a chunk then goes to every place that it has. What was written
is noted in a journal beside the files, so that a killed pull goes on where it was. Owners, modes and attributes of the
container's own trees come last, directories after what is in them.
"""

import ctypes
import os
import stat
import threading
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress

from glowplug.registry import index
from glowplug.registry.index import Entry, Index
from glowplug.registry.seal import Pieces

JOURNAL = ".pulled"
"""In the draft while it is being pulled: the numbers of the chunks that are written, a line each."""

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_AT_ONCE = 64
_SYNC_FILE_RANGE_WRITE = 2  # uapi/linux/fs.h
_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)
_KINDS = {
    index.CHARACTER: stat.S_IFCHR,
    index.BLOCK: stat.S_IFBLK,
    index.FIFO: stat.S_IFIFO,
    index.SOCKET: stat.S_IFSOCK,
}


class Writer:
    """Thread-safe from `prepare` to `finish`. `done`: the chunks that are written already."""

    def __init__(self, directory: str, found: Index) -> None:
        self._directory = directory
        self._index = found
        self._lock = threading.Lock()
        self._files: dict[int, list[Entry]] = defaultdict(list)
        for entry in found.entries:
            if entry.size:
                self._files[entry.at[0]].append(entry)
        for files in self._files.values():
            files.sort(key=lambda entry: entry.at[1])
        self._places: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for chunk, stream, offset in index.places(found):
            self._places[chunk].append((stream, offset))
        self._open: dict[str, int] = {}
        self._journal = -1
        self.done: set[int] = set()

    def prepare(self) -> None:
        """Directories, empty files of their sizes, links, devices; what is there already stays. Raises OSError."""
        self._journal = os.open(f"{self._directory}/{JOURNAL}", _CREATE | os.O_APPEND, 0o600)
        with open(f"{self._directory}/{JOURNAL}", "rb") as file:
            lines = file.read().split(b"\n")[:-1]
        self.done = {int(line) for line in lines if line.isdigit()}
        for entry in self._index.entries:
            with suppress(FileExistsError):
                self._make(entry)

    def write(self, chunks: Iterable[tuple[int, Pieces]]) -> None:
        """Chunks by their numbers, each into every place that it has; then they are noted. Raises OSError."""
        written = []
        for chunk, pieces in chunks:
            for stream, offset in self._places[chunk]:
                at = offset
                for piece in pieces:
                    self._write_at(stream, at, piece)
                    at += len(piece)
            written.append(b"%d\n" % chunk)
        os.write(self._journal, b"".join(written))
        self._begin_write_back()

    def _begin_write_back(self) -> None:
        """The disk begins with what large files have now: publishing waits for it less (sync_file_range(2))."""
        if _sync_file_range is not None:
            with self._lock:
                descriptors = list(self._open.values())
            for descriptor in descriptors:
                _sync_file_range(descriptor, ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)

    def finish(self) -> None:
        """Owners, modes, attributes, times of the trees. Raises OSError."""
        self.close()
        for entry in reversed(self._index.entries):
            if index.is_in_tree(entry.path) and not entry.link:
                self._describe(entry)
        os.unlink(f"{self._directory}/{JOURNAL}")

    def close(self) -> None:
        """Closes what is open; the draft stays as it is."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1

    def _make(self, entry: Entry) -> None:
        path = f"{self._directory}/{entry.path}"
        if entry.link:
            os.link(f"{self._directory}/{entry.link}", path, follow_symlinks=False)
        elif entry.type == index.DIRECTORY:
            os.mkdir(path, 0o700)
        elif entry.type == index.FILE:
            descriptor = os.open(path, _CREATE, 0o600)
            try:
                os.ftruncate(descriptor, entry.size)
            finally:
                os.close(descriptor)
        elif entry.type == index.SYMLINK:
            os.symlink(entry.target, path)
        else:
            os.mknod(path, _KINDS[entry.type] | 0o600, os.makedev(*entry.device))

    def _write_at(self, stream: int, offset: int, content: bytes | memoryview) -> None:
        """The files that lie in [offset, offset + len(content)) of the stream."""
        end = offset + len(content)
        view = memoryview(content)
        for entry in self._files[stream]:
            begin = max(offset, entry.at[1])
            until = min(end, entry.at[1] + entry.size)
            if begin < until:
                self._write_file(entry, begin - entry.at[1], view[begin - offset : until - offset])
            if entry.at[1] >= end:
                return

    def _write_file(self, entry: Entry, at: int, part: memoryview) -> None:
        """Large files stay open: a stream of their own has many chunks."""
        if entry.at[0] == 0:
            descriptor = os.open(f"{self._directory}/{entry.path}", _WRITE)
            try:
                _pwrite(descriptor, part, at)
            finally:
                os.close(descriptor)
            return
        with self._lock:
            if entry.path not in self._open:
                if len(self._open) >= _OPEN_AT_ONCE:
                    descriptor = os.open(f"{self._directory}/{entry.path}", _WRITE)
                else:
                    descriptor = self._open[entry.path] = os.open(f"{self._directory}/{entry.path}", _WRITE)
            else:
                descriptor = self._open[entry.path]
        try:
            _pwrite(descriptor, part, at)
        finally:
            if self._open.get(entry.path) != descriptor:
                os.close(descriptor)

    def _describe(self, entry: Entry) -> None:
        """In the order that keeps each: a change of owner clears setuid and capabilities, all of it the times."""
        path = f"{self._directory}/{entry.path}"
        os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        if entry.type != index.SYMLINK:
            os.chmod(path, entry.mode)
        for name, value in entry.attributes.items():
            os.setxattr(path, name, bytes.fromhex(value), follow_symlinks=False)
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)


def _pwrite(descriptor: int, part: memoryview, at: int) -> None:
    while part:
        count = os.pwrite(descriptor, part, at)
        part, at = part[count:], at + count
