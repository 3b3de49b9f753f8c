"""Owner, mode, times and extended attributes of an entry, whatever its kind.

Some attributes are not carried from one layer to another:
- trusted.overlay.origin, .upper: file handles of the lower file, or of the upper directory, on the file
  system where the overlay wrote them. Elsewhere they are stale, or open some other inode.
- trusted.overlay.impure: says that entries have an origin; they no longer do.
- trusted.overlay.nlink: a link count relative to the index in the old work directory.
- trusted.overlay.uuid: the identity of one mounted file system; the new one has its own.
- The same for user.overlay.…, used under `userxattr`, and by a rootless overlay inside the container.
- security.selinux: the label is the new pod's. security.evm: keyed to one node and inode.
What relates the layer to the lower ones is carried: trusted.overlay.opaque, .redirect, .metacopy.
"""

import errno
import os
import stat

from glowplug.errors import LayerError

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from typing import Any

_DROPPED_OF_OVERLAY = ("origin", "upper", "impure", "nlink", "uuid")
DROPPED = frozenset(
    (
        "security.selinux",
        "security.evm",
        *(f"trusted.overlay.{name}" for name in _DROPPED_OF_OVERLAY),
        *(f"user.overlay.{name}" for name in _DROPPED_OF_OVERLAY),
    )
)

Attributes = list[tuple[str, bytes]]


def path_of(dir_fd: int, name: str) -> str:
    """A short path of an entry in an open directory, for the calls that take no directory descriptor."""
    return f"/proc/self/fd/{dir_fd}/{name}"


def read(entry: int | str) -> Attributes:
    """The carried attributes of a descriptor, or of a path that is not followed; sorted by name."""
    follow = isinstance(entry, int)
    try:
        names = os.listxattr(entry, follow_symlinks=follow)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return []
        raise
    if not names:
        return []
    carried = sorted(name for name in names if name not in DROPPED)
    return [(name, os.getxattr(entry, name, follow_symlinks=follow)) for name in carried]


def set_on_descriptor(fd: int, status: os.stat_result, attributes: Attributes) -> None:
    """Give an open file or directory this owner, mode, attributes and times, in the order that keeps each.

    A change of owner clears setuid and security.capability; a change of mode rewrites an ACL; all of it is a
    change, so times come last.
    """
    os.fchown(fd, status.st_uid, status.st_gid)
    os.fchmod(fd, stat.S_IMODE(status.st_mode))
    for name, value in attributes:
        os.setxattr(fd, name, value)
    os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))


def set_on_made(dir_fd: int, name: str, status: os.stat_result, attributes: Attributes) -> None:
    """The same for a symlink, device node, FIFO or socket that was made a moment ago, none of which is opened.

    The directory may be one that other processes write in, which can put something else under the name: it is
    looked up once, must be what was made, and is changed by the descriptor. Raises LayerError where it is not.
    """
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        _require_made(os.fstat(fd), name, status)
        path = f"/proc/self/fd/{fd}"  # leads to what was opened, a symlink too; O_PATH has no fchown
        os.chown(path, status.st_uid, status.st_gid)
        if not stat.S_ISLNK(status.st_mode):
            os.chmod(path, stat.S_IMODE(status.st_mode))
        for attribute, value in attributes:
            os.setxattr(path, attribute, value)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    finally:
        os.close(fd)


def _require_made(found: os.stat_result, name: str, wanted: os.stat_result) -> None:
    """A hard link to somebody else's is known by its count, another file by its owner: what we made is ours yet."""
    is_it = (
        stat.S_IFMT(found.st_mode) == stat.S_IFMT(wanted.st_mode)
        and found.st_rdev == wanted.st_rdev
        and found.st_nlink == 1
        and found.st_uid == os.geteuid()
    )
    if not is_it:
        raise LayerError(f"{name!r} was replaced by another process while it was being made")


def clear(fd: int) -> None:
    """Remove what a directory carries before it is filled: a default ACL would pass to all made inside."""
    for name, _ in read(fd):
        os.removexattr(fd, name)


def describe(fd: int) -> dict[str, object]:
    """Owner, mode, times and attributes of a directory, as JSON holds them."""
    status = os.fstat(fd)
    return {
        "owner": [status.st_uid, status.st_gid],
        "mode": stat.S_IMODE(status.st_mode),
        "times": [status.st_atime_ns, status.st_mtime_ns],
        "attributes": {name: value.hex() for name, value in read(fd)},
    }


def restore(fd: int, described: "dict[str, Any]") -> None:
    """Give a directory what `describe` found of it."""
    clear(fd)
    os.fchown(fd, *described["owner"])
    os.fchmod(fd, described["mode"])
    for name, value in described["attributes"].items():
        os.setxattr(fd, name, bytes.fromhex(value))
    os.utime(fd, ns=tuple(described["times"]))
