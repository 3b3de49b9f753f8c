"""The files of an artifact written into a draft, chunk by chunk in any order, by any number of processes.

`Writer` makes everything that has no content first; a chunk then goes to every place that it has. What was written
is noted in a journal beside the files, so that a killed pull continues where it was. Owners, modes and attributes of
the container's own trees come last, directories after what is in them.
"""

import ctypes
import os
import stat
from collections import defaultdict
from contextlib import suppress

from glowplug.registry import index
from glowplug.registry.index import Entry, Index
from glowplug.registry.seal import Pieces

JOURNAL = ".pulled"
"""In the draft while it is being pulled: the numbers of the chunks that are written, a line each."""

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_AT_ONCE = 64
_NOTED_AT = 64  # chunks; what a killed pull writes again, at most, in each of its processes
_SYNC_FILE_RANGE_WRITE = 2  # uapi/linux/fs.h
_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)
_KINDS = {
    index.CHARACTER: stat.S_IFCHR,
    index.BLOCK: stat.S_IFBLK,
    index.FIFO: stat.S_IFIFO,
    index.SOCKET: stat.S_IFSOCK,
}


class Writer:
    """One thread's; processes that are forked after `prepare` may write side by side, each other chunks.

    `done`: the chunks that were written before `prepare`.
    """

    def __init__(self, directory: str, found: Index) -> None:
        self._directory = directory
        self._index = found
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
        self._written: list[int] = []
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

    def write(self, chunk: int, pieces: Pieces) -> None:
        """A chunk by its number, into every place that it has. Raises OSError."""
        for stream, offset in self._places[chunk]:
            self._write_at(stream, offset, pieces)
        self._written.append(chunk)
        if len(self._written) >= _NOTED_AT:
            self._note()

    def note(self) -> None:
        """Puts what was written into the journal, and on its way to the disk: publishing waits for it less."""
        self._note()
        if _sync_file_range is not None:
            for descriptor in self._open.values():
                _sync_file_range(descriptor, ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)

    def _note(self) -> None:
        os.write(self._journal, b"".join(b"%d\n" % chunk for chunk in self._written))
        self._written.clear()

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

    def _write_at(self, stream: int, offset: int, pieces: Pieces) -> None:
        """The files that are in the stream where the pieces do, one behind the other."""
        for piece in pieces:
            end = offset + len(piece)
            view = memoryview(piece)
            for entry in self._files[stream]:
                begin = max(offset, entry.at[1])
                until = min(end, entry.at[1] + entry.size)
                if begin < until:
                    self._write_file(entry, begin - entry.at[1], view[begin - offset : until - offset])
                if entry.at[1] >= end:
                    break
            offset = end

    def _write_file(self, entry: Entry, at: int, part: memoryview) -> None:
        """Large files stay open: a stream of their own has many chunks."""
        descriptor = self._open.get(entry.path)
        if descriptor is not None:
            _pwrite(descriptor, part, at)
            return
        descriptor = os.open(f"{self._directory}/{entry.path}", _WRITE)
        if entry.at[0] and len(self._open) < _OPEN_AT_ONCE:
            self._open[entry.path] = descriptor
            _pwrite(descriptor, part, at)
            return
        try:
            _pwrite(descriptor, part, at)
        finally:
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
