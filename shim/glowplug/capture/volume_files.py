"""What is in a volume, read beneath its root and nowhere else (docs/matching.md, rules 4.7 and 4.8).

A tenant may have put anything there: links out of the volume, FIFOs, devices, a million files, a server that does not
answer. So every path is resolved beneath the root, only regular files are opened, never so that it could block or have
an effect, and a budget bounds files, bytes and time. What goes beyond is `Unreadable`, with a phrase that says why.

A system call on a dead file server may still not return: call this for one in a process that can be
killed (`readers`).
"""

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass

from glowplug.host.openat2 import (
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    openat2,
)

DEPTH = 64  # directories in one another
_SHOWN = 80  # characters of a tenant's path in a message
_KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class Unreadable(Exception):
    """Why a volume can't be known, as a phrase that fits in brackets."""


class Budget:
    """How much of one volume is read at most. `until`: in time.monotonic() seconds."""

    def __init__(self, entries: int, size: int, until: float) -> None:
        self._entries = entries
        self._bytes = size
        self._until = until
        self._most = (entries, size)

    def spend_entry(self) -> None:
        """One more name was seen. Raises Unreadable."""
        self._entries -= 1
        if self._entries < 0:
            raise Unreadable(f"more than {self._most[0]} files")
        if time.monotonic() > self._until:
            raise Unreadable("not read in time")

    def spend_bytes(self, number: int) -> None:
        """So many more bytes were read. Raises Unreadable."""
        self._bytes -= number
        if self._bytes < 0:
            raise Unreadable(f"more than {self._most[1]} bytes")
        if time.monotonic() > self._until:
            raise Unreadable("not read in time")


@dataclass(frozen=True, slots=True)
class Entry:
    """One name below the root: its path ("" the root itself, where that is a file) and its state; `link`: where a
    symbolic link points."""

    path: str
    state: os.stat_result
    link: str | None = None


class Volume:
    """A directory, or a file, opened without following a link. `follow`: links within the volume are followed, as the
    kubelet's own files need it (`..data`); else a link is what it says."""

    def __init__(self, source: str, budget: Budget, *, follow: bool = False) -> None:
        """Raises OSError."""
        self._budget = budget
        self._follow = follow
        self._root = os.open(source, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        self.state = os.fstat(self._root)

    def __enter__(self) -> "Volume":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._root)

    def entries(self) -> Iterator[Entry]:
        """Everything below the root, each directory before what is in it. Raises Unreadable, OSError."""
        if not stat.S_ISDIR(self.state.st_mode):
            self._budget.spend_entry()
            yield Entry("", self.state)
            return
        yield from self._below("", 0)

    def read(self, entry: Entry) -> bytes:
        """A regular file's bytes. Raises Unreadable for what is none, OSError."""
        fd = self._open(entry.path, os.O_PATH) if entry.path else os.dup(self._root)
        try:
            refuse_special(entry.path, os.fstat(fd).st_mode)
            # By its descriptor: a name could be another file by now, and to open a device has effects.
            file = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        finally:
            os.close(fd)
        try:
            return b"".join(self._chunks(file))
        finally:
            os.close(file)

    def _chunks(self, file: int) -> Iterator[bytes]:
        while chunk := os.read(file, 1 << 20):
            self._budget.spend_bytes(len(chunk))
            yield chunk

    def _below(self, directory: str, depth: int) -> Iterator[Entry]:
        if depth > DEPTH:
            raise Unreadable(f"{shown(directory)}: directories are nested more than {DEPTH} deep")
        for name in self._names(directory):
            path = f"{directory}/{name}" if directory else name
            entry = self._entry(path)
            yield entry
            if entry.link is None and stat.S_ISDIR(entry.state.st_mode):
                yield from self._below(path, depth + 1)

    def _names(self, directory: str) -> list[str]:
        fd = self._open(directory or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK)
        try:
            names = []
            with os.scandir(fd) as found:
                for one in found:
                    self._budget.spend_entry()
                    names.append(one.name)
            return sorted(names)
        finally:
            os.close(fd)

    def _entry(self, path: str) -> Entry:
        try:
            fd = self._open(path, os.O_PATH | (0 if self._follow else os.O_NOFOLLOW))
        except OSError as error:
            raise Unreadable(f"{shown(path)}: {error.strerror}") from None
        try:
            state = os.fstat(fd)
            return Entry(path, state, os.readlink("", dir_fd=fd) if stat.S_ISLNK(state.st_mode) else None)
        finally:
            os.close(fd)

    def _open(self, path: str, flags: int) -> int:
        resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV
        # With NO_SYMLINKS the last name may still be one where it is opened as such (openat2(2), O_PATH | O_NOFOLLOW).
        return openat2(self._root, path, flags, 0, resolve if self._follow else resolve | RESOLVE_NO_SYMLINKS)


def refuse_special(path: str, mode: int) -> None:
    """Raises Unreadable for what is neither a regular file, a directory nor a link."""
    for is_kind, what in _KINDS:
        if is_kind(mode):
            raise Unreadable(f"{shown(path)} is {what}")


def refuse_link_out(entry: Entry) -> None:
    """Raises Unreadable for a link that leaves the volume: the process would follow it to what is not read here."""
    if entry.link is None:
        return
    target = os.path.normpath(os.path.join("/", os.path.dirname(entry.path), entry.link))
    climbs = os.path.normpath(os.path.join(os.path.dirname(entry.path), entry.link)).split("/")[0] == ".."
    if entry.link.startswith("/") or climbs or not target.startswith("/"):
        raise Unreadable(f"{shown(entry.path)} is a link out of the volume")


def shown(path: str) -> str:
    """A tenant's path, fit for a log line."""
    text = ascii(path or ".")[1:-1]
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
