"""Files written completely or not at all, and all of them taken back when a later step fails."""

import contextlib
import errno
import os
import shutil
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from glowplug.errors import NodeError


@dataclass(frozen=True, slots=True)
class _Before:
    path: str
    data: bytes | None
    mode: int


def read(path: str) -> bytes | None:
    """The file's bytes; None where there is none. Raises NodeError."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NodeError(f"can't read {path}: {error.strerror}") from error


class Transaction:
    """Writes as one: `with` undoes them all, the last one first, unless `keep` was called."""

    def __init__(self) -> None:
        self._done: list[_Before] = []
        self._made: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo()

    def write(self, path: str, data: bytes, mode: int = 0o644) -> bool:
        """Put these bytes there; a file that is there keeps its mode and owner. False: it had them already.

        A symbolic link stays one. Raises NodeError.
        """
        target = os.path.realpath(path)
        before = read(target)
        if before == data:
            return False
        try:
            self._make_directory(os.path.dirname(target))
            _replace(target, data, mode)
        except OSError as error:
            raise refused("write", path, error) from error
        self._done.append(_Before(target, before, mode))
        return True

    def remove(self, path: str) -> bool:
        """False: there was none. Raises NodeError."""
        before = read(path)
        if before is None:
            return False
        mode = os.stat(path).st_mode & 0o7777
        try:
            os.unlink(path)
        except OSError as error:
            raise refused("remove", path, error) from error
        self._done.append(_Before(path, before, mode))
        return True

    def keep(self) -> None:
        """All of it stays."""
        self._done.clear()
        self._made.clear()

    def undo(self) -> None:
        """Every file as it was before. Raises NodeError when the disk refuses."""
        try:
            while self._done:
                before = self._done.pop()
                if before.data is None:
                    os.unlink(before.path)
                else:
                    _replace(before.path, before.data, before.mode)
            while self._made:
                with contextlib.suppress(OSError):  # somebody else's file is in it now
                    os.rmdir(self._made.pop())
        except OSError as error:
            raise NodeError(f"can't put back {error.filename}: {error.strerror}") from error

    def _make_directory(self, path: str) -> None:
        if not path or os.path.isdir(path):
            return
        self._make_directory(os.path.dirname(path))
        os.mkdir(path, 0o755)
        self._made.append(path)


def refused(verb: str, path: str, error: OSError) -> NodeError:
    """What to do about a file that can't be written or removed."""
    if error.errno == errno.EROFS:
        return NodeError(
            f"can't {verb} {path}: its file system is read-only; on a system whose files are its image's "
            "(Bottlerocket, Talos, Container-Optimized OS) the handler has to come with that image"
        )
    if error.errno == errno.EBUSY:  # of rename(2): a mount point
        return NodeError(
            f"can't {verb} {path}: the file is a mount point, so no new one can take its place, and a change to it "
            "would be lost or read-only: unmount it, or change what is mounted there"
        )
    return NodeError(f"can't {verb} {path}: {error.strerror}")


def _replace(path: str, data: bytes, mode: int) -> None:
    """A new file in its place, on the disk before it bears the name."""
    draft = f"{path}.glowplug-new"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        if os.path.exists(path):
            owner = os.stat(path)
            os.chown(draft, owner.st_uid, owner.st_gid)
            shutil.copymode(path, draft)
            _copy_label(path, draft)
        else:
            os.chmod(draft, mode)
        os.rename(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


def _copy_label(path: str, draft: str) -> None:
    """Extended attributes: the SELinux label is one."""
    for name in os.listxattr(path):
        with contextlib.suppress(OSError):  # a file system may list what it does not let be set
            os.setxattr(draft, name, os.getxattr(path, name))
