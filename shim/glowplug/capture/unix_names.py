"""Which Unix sockets of a container are no longer called as they were bound (see criu/unix_names.py).

The kernel follows a file that is renamed, and says so through a descriptor of it (SIOCUNIXFILE). Of one that was
linked to another name, the bound one being removed, it knows only that: the other one is looked for.
"""

import fcntl
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from glowplug.host import descriptors
from glowplug.layer.beneath import open_beneath

SIOCUNIXFILE = 0x89E0  # linux/un.h; wants CAP_NET_ADMIN
_DELETED = " (deleted)"


@dataclass(slots=True)
class Names:
    """`now`: inode of a socket → the name that it is to be bound to. `others`: [a name, another name of the same
    socket]: hard links beside the first. `lost`: (process, bound name) of those whose other name was not found.
    """

    now: dict[int, str] = field(default_factory=dict)
    others: list[tuple[str, str]] = field(default_factory=list)
    lost: list[tuple[int, str]] = field(default_factory=list)
    relative: list[tuple[int, str]] = field(default_factory=list)


def find(pids: Iterable[int], root: str) -> Names:
    """Of the processes `pids`; `root`: the container's root directory, /proc/PID/root. No error but a lost name."""
    found = Names()
    pids = list(pids)
    bound = _bound(pids)
    seen: set[str] = set()
    for one in descriptors.sockets(pids):
        name = bound.get(one.inode)
        if name is None:
            continue
        try:
            with descriptors.borrowed(one.pid, one.number) as socket:
                file = fcntl.ioctl(socket, SIOCUNIXFILE)
        except OSError:
            continue  # closed meanwhile, or bound to no file
        try:
            _look(file, name, one, root, found, seen)
        finally:
            os.close(file)
    return found


def _look(
    file: int, bound: str, one: descriptors.Descriptor, root: str, found: Names, seen: set[str]
) -> None:
    status = os.fstat(file)
    path = os.readlink(f"/proc/self/fd/{file}")
    is_removed = path.endswith(_DELETED)
    if is_removed and not status.st_nlink:
        return  # nobody can reach it by a name: CRIU binds it and removes the name again
    path = path.removesuffix(_DELETED)
    if not bound.startswith("/") and not path.endswith(f"/{bound}"):
        found.relative.append((one.pid, bound))  # unix_resolve_name() in criu/sk-unix.c
        return
    others = _other_names(root, path, (status.st_dev, status.st_ino), status.st_nlink, is_removed)
    if is_removed and not others:
        found.lost.append((one.pid, path))
        return
    name = others.pop(0) if is_removed else path
    if name != (bound if bound.startswith("/") else path) or is_removed:
        found.now[one.inode] = name
    if name not in seen:  # what was accepted from a listener has its name too
        seen.add(name)
        found.others += [(name, other) for other in others]


def _other_names(root: str, path: str, inode: tuple[int, int], links: int, is_removed: bool) -> list[str]:
    """Hard links of the socket beside `path`: in its directory first, then below it and in the usual places."""
    wanted = links if is_removed else links - 1
    found: list[str] = []
    if wanted <= 0:
        return found
    directory = os.path.dirname(path)
    looked: set[str] = set()
    for top in (directory, "/run", "/var/run", "/tmp", "/var/lib", "/"):
        _search(root, top, inode, {path} if not is_removed else set(), found, looked, wanted)
        if len(found) >= wanted:
            break
    return found


def _search(
    root: str,
    top: str,
    inode: tuple[int, int],
    known: Collection[str],
    found: list[str],
    looked: set[str],
    wanted: int,
) -> None:
    pending = [top.rstrip("/")]
    while pending and len(found) < wanted:
        directory = pending.pop()
        if directory in looked or directory in ("/proc", "/sys"):
            continue
        looked.add(directory)
        try:
            fd = open_beneath(root, directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    path = f"{directory}/{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(path)
                    elif path not in known and path not in found and entry.inode() == inode[1]:
                        status = entry.stat(follow_symlinks=False)
                        if (status.st_dev, status.st_ino) == inode:
                            found.append(path)
        except OSError:
            continue
        finally:
            os.close(fd)


def _bound(pids: list[int]) -> dict[int, str]:
    """Inode → name of all sockets of their network namespace that are bound to a file (/proc/net/unix)."""
    found = {}
    for pid in pids:
        try:
            with open(f"/proc/{pid}/net/unix", "rb") as lines:
                next(lines)
                rows = [line.rstrip(b"\n").split(None, 7) for line in lines]
        except (OSError, StopIteration):
            continue
        for row in rows:
            if len(row) == 8 and not row[7].startswith(b"@"):
                found[int(row[6])] = os.fsdecode(row[7])
        break
    return found
