"""What the store does to entire trees on disk: make them private, durable, counted, gone."""

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from glowplug.cache import layout

_BLOCK = 512  # bytes; the unit of st_blocks, whatever the file system's own (stat(2))
_SYNC_THREADS = 8  # so that the file system can join many fsyncs in one journal commit
_LONG_PATH = 2000  # bytes; far enough from PATH_MAX (4096) for one more name
_LOOKS = 5


def make_private(directory: str) -> None:
    """Directories 0700 and files 0600, of the one who runs; a container's own files keep theirs."""
    for path, status in walk(directory, skip=lambda path: layout.is_tree(path.removeprefix(f"{directory}/"))):
        if stat.S_ISLNK(status.st_mode):
            continue
        if status.st_uid != os.geteuid():
            os.lchown(path, os.geteuid(), os.getegid())
        mode = layout.DIRECTORY_MODE if stat.S_ISDIR(status.st_mode) else layout.FILE_MODE
        if stat.S_IMODE(status.st_mode) != mode:
            os.chmod(path, mode)


def sync_tree(directory: str) -> None:
    """Every file and directory beneath and with directory on the disk (fsync(2)). Raises OSError."""
    kinds = (stat.S_IFREG, stat.S_IFDIR)
    paths = [path for path, status in walk(directory) if stat.S_IFMT(status.st_mode) in kinds]
    with ThreadPoolExecutor(_SYNC_THREADS) as threads:
        for _ in threads.map(sync, paths):
            pass


def sync(path: str) -> None:
    """One file's content, or a directory's names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: str, content: bytes) -> None:
    """A new file, 0600, on the disk; its name is durable once the directory is synced."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, layout.FILE_MODE), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def usage(directory: str) -> int:
    """Bytes that the tree takes on the disk: its blocks, a hard-linked file once, what is gone nothing."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for _, status in walk(directory):
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            total += status.st_blocks * _BLOCK
    return total


def free(directory: str) -> int:
    """Bytes of the file system that anybody may still write (statvfs(3), f_bavail)."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def walk(
    directory: str, skip: Callable[[str], bool] = lambda _: False
) -> Iterator[tuple[str, os.stat_result]]:
    """Every path beneath directory and directory itself with its status, links not followed.

    A path that skip is true for, and what is beneath it, is left out; so is what vanishes meanwhile.
    """
    pending = [directory]
    while pending:
        path = pending.pop()
        if skip(path):
            continue
        with suppress(FileNotFoundError):
            status = os.lstat(path)
            yield path, status
            if stat.S_ISDIR(status.st_mode):
                pending.extend(f"{path}/{name}" for name in os.listdir(path))


def delete(path: str) -> None:
    """Removes a tree, where it is there; others may be removing it too. Raises OSError.

    A container may have nested its directories deeper than a path or a call stack is long: directories far
    down are moved up first. Where another remover moved some there after we had looked, we look again.
    """
    if _unlinked(path, path) is None:
        return
    for _ in range(_LOOKS):
        if _emptied(path):
            return
    raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)


def _emptied(path: str) -> bool:
    """Removes what is found beneath path, and path; whether nothing had come there meanwhile."""
    directories = [path]
    for directory in directories:  # grows while it is walked
        with suppress(FileNotFoundError):
            names = os.listdir(directory)
            directories.extend(below for name in names if (below := _unlinked(path, f"{directory}/{name}")))
    for directory in reversed(directories):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
    return True


def _unlinked(top: str, path: str) -> str | None:
    """Removes what is not a directory; where a directory is now, near enough to be walked."""
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
            return None
        if len(os.fsencode(path)) <= _LONG_PATH:
            return path
        near = f"{top}/{secrets.token_hex(8)}"
        os.rename(path, near)
        return near
    except FileNotFoundError:
        return None
