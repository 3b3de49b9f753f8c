"""Drafts: checkpoints being written, each with space reserved and a lock that says whether its writer lives.

drafts/<name>.lock exists, locked, before drafts/<name>/ does: a directory whose lock nobody holds is dead. One whose
name begins with KEPT can be written on by another process (a pull that was killed) and is dead a day later.
"""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from glowplug.cache import disk, layout, lease, locking
from glowplug.errors import CacheError

KEPT = "pull-"
KEPT_S = 86_400.0
TRIES = 5


class Draft:
    """A directory to write a checkpoint into, on the store's file system; gone unless it gets published.

    `with store.draft(bytes) as draft:` abandons what was not published.
    """

    def __init__(self, root: str, name: str, descriptor: int, bytes_needed: int) -> None:
        self.name = name
        self.path = layout.draft(root, name)
        self.bytes_needed = bytes_needed
        self._root = root
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon()

    @property
    def is_open(self) -> bool:
        """Whether it is neither published nor abandoned."""
        return self._descriptor >= 0

    def abandon(self) -> None:
        """Deletes it; does nothing where it was published or abandoned before. Raises CacheError."""
        if not self.is_open:
            return
        try:
            if os.path.lexists(self.path):
                disk.delete(self.path)
        except OSError as error:
            raise CacheError(f"draft {self.path} can't be deleted: {error}") from error
        finally:
            self.close()

    def leave(self) -> None:
        """Ends the writer's lock; the files stay for who opens it again by its name."""
        if self.is_open:
            self.close()

    def close(self) -> None:
        """Ends the writer's lock. What is left of the directory is dead then."""
        with suppress(FileNotFoundError):
            os.unlink(layout.draft_lock(self._root, self.name))
        os.close(self._descriptor)
        self._descriptor = -1


def create(root: str, bytes_needed: int) -> Draft:
    """A new draft with bytes_needed reserved. Take the store's lock first. Raises OSError."""
    for _ in range(TRIES):
        found = _create(root, secrets.token_hex(8), bytes_needed)
        if found is not None:
            return found
    raise OSError(f"each of {TRIES} new drafts was locked by another process at once; try again")


def _create(root: str, name: str, bytes_needed: int) -> Draft | None:
    """None where somebody who looks for dead drafts has locked it first: it is his to throw away."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(layout.draft_lock(root, name), flags, layout.FILE_MODE)
    try:
        if not locking.try_lock(descriptor):
            os.close(descriptor)
            return None
        os.write(descriptor, str(bytes_needed).encode())
        os.mkdir(layout.draft(root, name), layout.DIRECTORY_MODE)
    except BaseException:
        os.unlink(layout.draft_lock(root, name))
        os.close(descriptor)
        raise
    return Draft(root, name, descriptor, bytes_needed)


def reopen(root: str, name: str, bytes_needed: int) -> Draft:
    """The draft of that name: what an earlier writer left of it, or a new one. Take the store's lock first.

    Raises CacheError while its writer lives, OSError.
    """
    descriptor = grab(root, name)
    if descriptor is None:
        raise CacheError(f"draft {name} is being written by another process")
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(bytes_needed).encode(), 0)
        os.makedirs(layout.draft(root, name), layout.DIRECTORY_MODE, exist_ok=True)
    except BaseException:
        os.close(descriptor)
        raise
    return Draft(root, name, descriptor, bytes_needed)


def is_kept(root: str, name: str) -> bool:
    """Whether a draft outlives its writer: it can be written on, for KEPT_S seconds after it was last changed."""
    if not name.startswith(KEPT):
        return False
    try:
        return time.time() - os.lstat(layout.draft(root, name)).st_mtime < KEPT_S
    except FileNotFoundError:
        return False


def reservations(root: str, besides: str = "") -> Iterator[tuple[int, int]]:
    """(bytes reserved, bytes written so far) of each draft whose writer lives, except for that one."""
    for name in names(root):
        if name == besides:
            continue
        descriptor = grab(root, name)
        if descriptor is not None:
            os.close(descriptor)
            if is_kept(root, name):
                yield 0, disk.usage(layout.draft(root, name))
            continue
        try:
            with open(layout.draft_lock(root, name), "rb") as file:
                reserved = int(file.read(32) or 0)
        except (FileNotFoundError, ValueError):
            continue
        yield reserved, disk.usage(layout.draft(root, name))


def names(root: str) -> set[str]:
    """Of drafts, and of what is left of them."""
    return {name.removesuffix(".lock") for name in os.listdir(layout.drafts(root))}


def grab(root: str, name: str) -> int | None:
    """A dead draft's lock, as a descriptor; None while its writer lives. Take the store's lock first."""
    path = layout.draft_lock(root, name)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, layout.FILE_MODE)
    if locking.try_lock(descriptor) and lease.is_linked(descriptor, path):
        return descriptor
    os.close(descriptor)
    return None
