"""The canonical listing of a writable layer's tree: its digest changes with whatever a restore brings back.

One line per entry, in the order of the paths' bytes: path, type, permissions, owner, device number, link
target, hard-link group, size, content digest, extended attributes (`trusted.*` among them: overlayfs keeps
opaque directories and redirects there). Times are left out: a transfer may lose them, and nothing is decided
by them.
"""

import errno
import os
import stat
from collections.abc import Iterator

from blake3 import blake3

from glowplug.cache.content import blake3_of
from glowplug.errors import CacheError

# Labels that a node gives by its own policy; they say nothing about what was captured.
_NODE_LABELS = frozenset({"security.selinux", "security.ima", "security.evm"})
_NO_XATTRS = (errno.ENOTSUP, errno.ENODATA)


def digest_tree(tree: str) -> tuple[int, str]:
    """The bytes of a tree's regular files (each hard link counted) and the blake3 of its listing.

    Raises CacheError when something in it can't be read.
    """
    state = blake3()
    total = 0
    groups: dict[tuple[int, int], str] = {}
    try:
        for path, status in _walk(tree):
            state.update(_line(tree, path, status, groups))
            total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    except OSError as error:
        raise CacheError(f"writable layer: {error}") from error
    return total, state.hexdigest()


def _walk(tree: str) -> Iterator[tuple[str, os.stat_result]]:
    """Every entry beneath tree and tree itself as ".", parents first, siblings by their names' bytes."""
    yield ".", os.lstat(tree)
    pending = ["."]
    while pending:
        directory = pending.pop()
        below = []
        for name in sorted(os.listdir(f"{tree}/{directory}"), key=os.fsencode):
            path = f"{directory}/{name}"
            status = os.lstat(f"{tree}/{path}")
            yield path, status
            if stat.S_ISDIR(status.st_mode):
                below.append(path)
        pending.extend(reversed(below))


def _line(tree: str, path: str, status: os.stat_result, groups: dict[tuple[int, int], str]) -> bytes:
    """One entry; each field with its length in front, so that no name can imitate another line."""
    mode = status.st_mode
    full = f"{tree}/{path}"
    device = status.st_rdev if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else 0
    fields = [
        os.fsencode(path),
        str(stat.S_IFMT(mode)).encode(),
        str(stat.S_IMODE(mode)).encode(),
        f"{status.st_uid}:{status.st_gid}".encode(),
        f"{os.major(device)}:{os.minor(device)}".encode(),
        os.fsencode(os.readlink(full)) if stat.S_ISLNK(mode) else b"",
        _link_group(path, status, groups),
        str(status.st_size).encode() if stat.S_ISREG(mode) else b"",
        blake3_of(full).encode() if stat.S_ISREG(mode) else b"",
        *_xattrs(full),
    ]
    return b"".join(b"%d:%s" % (len(field), field) for field in fields) + b"\n"


def _link_group(path: str, status: os.stat_result, groups: dict[tuple[int, int], str]) -> bytes:
    """The first path of the file that this one is a hard link to."""
    if stat.S_ISDIR(status.st_mode) or status.st_nlink < 2:
        return b""
    return os.fsencode(groups.setdefault((status.st_dev, status.st_ino), path))


def _xattrs(path: str) -> list[bytes]:
    try:
        names = sorted(set(os.listxattr(path, follow_symlinks=False)) - _NODE_LABELS)
    except OSError as error:
        if error.errno in _NO_XATTRS:
            return []
        raise
    return [os.fsencode(name) + b"=" + os.getxattr(path, name, follow_symlinks=False) for name in names]
