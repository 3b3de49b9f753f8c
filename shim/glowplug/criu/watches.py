"""Paths that a container's processes watch with inotify or fanotify on their root file system.

The kernel names a watched file by device and inode only, and overlayfs can't open such a name, so CRIU must
get the places to look (`irmap-scan-path`). The walk happens here, before the freeze, and only if there is
something to find.
"""

import os
from collections.abc import Iterable

from glowplug.criu import config
from glowplug.errors import CriuError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Inode = tuple[int, int]
"""The kernel's own device number, and the inode's."""


def paths(pids: Iterable[int]) -> tuple[str, ...]:
    """The watched paths on the root file system of the processes ``pids`` (host pids, one mount namespace).

    A watch that no path was found for is left out; the dump then fails and says so.
    Raises CriuError if the root file system can't be walked.
    """
    pids = list(pids)
    wanted = {inode for pid in pids for inode in _watched(pid)}
    if not pids or not wanted:
        return ()
    try:
        root = os.open(f"/proc/{pids[0]}/root/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise CriuError(f"the container's root can't be opened: {error.strerror}") from error
    try:
        device = os.fstat(root).st_dev
        on_root = {ino for dev, ino in wanted if dev == kernel_device(device)}
        return _find(root, device, on_root) if on_root else ()
    finally:
        os.close(root)


def watched(pid: int, number: int | str) -> list[Inode]:
    """What a descriptor watches, if it is an inotify's or fanotify's; nothing of one that is closed."""
    try:
        with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii", errors="replace") as file:
            text = file.read()
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        # proc_pid_fdinfo(5): "inotify wd:1 ino:2f sdev:800001 mask:..", "fanotify ino:2f sdev:800001 .."
        kind, _, rest = line.partition(" ")
        if kind in ("inotify", "fanotify"):
            fields = dict(part.split(":", 1) for part in rest.split() if ":" in part)
            if "ino" in fields and "sdev" in fields:
                found.append((int(fields["sdev"], 16), int(fields["ino"], 16)))
    return found


def _watched(pid: int) -> list[Inode]:
    try:
        numbers = os.listdir(f"/proc/{pid}/fdinfo")
    except OSError:
        return []  # gone since it was listed
    return [inode for number in numbers for inode in watched(pid, number)]


def _sayable(path: str) -> str:
    """The path, or the directory above it whose path CRIU's configuration can contain (config.py): CRIU looks for what
    is watched in all that is below it."""
    while path and not config.can_hold(path):
        path = path.rpartition("/")[0]
    return path


def _find(root: int, device: int, wanted: set[int]) -> tuple[str, ...]:
    found: list[str] = []
    left = set(wanted)
    left.discard(os.stat(".", dir_fd=root).st_ino)  # CRIU looks at the root itself in any case
    # Files before directories: CRIU descends into a directory that it gets before it tries the next path.
    folders: list[str] = []
    pending = [""]
    while pending and left:
        folder = pending.pop()
        try:
            fd = os.open(folder[1:] or ".", _FOLDER, dir_fd=root)
        except OSError:
            continue
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    try:
                        facts = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue
                    if facts.st_dev != device:
                        continue
                    path = f"{folder}/{entry.name}"
                    is_folder = entry.is_dir(follow_symlinks=False)
                    if facts.st_ino in left:
                        left.discard(facts.st_ino)
                        (folders if is_folder else found).append(path)
                    if is_folder:
                        pending.append(path)
        finally:
            os.close(fd)
    said = [path for path in dict.fromkeys(map(_sayable, (*found, *folders))) if path]
    # CRIU descends into a directory that it gets: files first, and what is below before what is above.
    return tuple(sorted(said, key=lambda path: (path not in found, -path.count("/"))))


def kernel_device(device: int) -> int:
    """As fdinfo shows it (include/linux/kdev_t.h): 12 bits of major above 20 bits of minor."""
    return os.major(device) << 20 | os.minor(device)
