"""Files that processes have open or watch in ConfigMaps and the like, by the name that they have in every pod.

The kubelet keeps such a volume's files in a directory called by its time, behind a link `..data` (kubelet,
atomic_writer.go). The kernel shows CRIU the name through that directory, which no other pod has: a shell, say,
holds the script that it runs. Through the link the new pod's file is found, which is the same by its content.

What a process holds of an older moment (a token is rotated every hour, and the old directory removed) CRIU keeps as a
removed file, which it would make and unlink again in the new pod's volume, at the link. The new pod's file takes its
place instead.
"""

import os
from collections.abc import Callable, Collection

from glowplug.criu import images
from glowplug.criu.images import Message

# images/regfile.proto, remap-file-path.proto, fsnotify.proto, fh.proto, fdinfo.proto
_FILE_REG, _ID, _NAME, _SIZE = 3, 1, 6, 8
_REMAPS, _ORIGINAL = "remap-fpath.img", 1
_FILE_INOTIFY, _WATCHES, _WATCH_HANDLE = 13, 5, 7
_FILE_FANOTIFY, _MARKS, _MARK_INODE, _INODE_HANDLE = 14, 6, 7, 2
_HANDLE_PATH = 4
_LINK = b"..data"

Rename = Callable[[bytes], bytes]


def name_by_link(images_dir: str, volumes: Collection[str]) -> int:
    """Rename, in files.img, the files and directories of these mount points that processes have open or watch; how many
    open files were changed. Called once on a fresh dump.

    volumes: mount points in the container, of volumes that a kubelet writes. Raises ImageError.
    """
    if not volumes:
        return 0

    def rename(name: bytes) -> bytes:
        return _by_link(name, volumes)

    removed = _removed(images_dir)
    entries = images.load(images_dir, "files.img", "files")
    found: set[int] = set()
    changed = sum(
        _file(entry, rename, removed, found) | _inotify(entry, rename) | _fanotify(entry, rename)
        for entry in entries
    )
    if changed:
        images.store(images_dir, "files.img", "files", entries)
    if found:
        _find_again(images_dir, found)
    return changed


def _removed(images_dir: str) -> set[int]:
    """Numbers of the files that CRIU keeps as removed ones."""
    if not os.path.exists(os.path.join(images_dir, _REMAPS)):
        return set()
    return {
        remap.required(_ORIGINAL, "remap.orig_id")
        for remap in images.load(images_dir, _REMAPS, "remap-fpath")
    }


def _find_again(images_dir: str, found: set[int]) -> None:
    """These are opened by their names."""
    remaps = images.load(images_dir, _REMAPS, "remap-fpath")
    kept = [remap for remap in remaps if remap.integer(_ORIGINAL) not in found]
    if kept:
        images.store(images_dir, _REMAPS, "remap-fpath", kept)
    else:
        os.unlink(os.path.join(images_dir, _REMAPS))


def _file(entry: Message, rename: Rename, removed: set[int], found: set[int]) -> bool:
    """A working directory is a file of the images, too. found: gets those of the removed ones that are renamed; their
    size was the old content's."""
    file = entry.message(_FILE_REG)
    if file is None or not _put_name(file, _NAME, rename):
        return False
    number = file.integer(_ID)
    if number in removed:
        found.add(number)
        file.remove(_SIZE)
    entry.put_message(_FILE_REG, file)
    return True


def _inotify(entry: Message, rename: Rename) -> bool:
    watcher = entry.message(_FILE_INOTIFY)
    watches = watcher.messages(_WATCHES) if watcher is not None else []
    changed = sum(_handle(watch, _WATCH_HANDLE, rename) for watch in watches)
    if watcher is None or not changed:
        return False
    watcher.put_messages(_WATCHES, watches)
    entry.put_message(_FILE_INOTIFY, watcher)
    return True


def _fanotify(entry: Message, rename: Rename) -> bool:
    watcher = entry.message(_FILE_FANOTIFY)
    marks = watcher.messages(_MARKS) if watcher is not None else []
    changed = False
    for mark in marks:
        inode = mark.message(_MARK_INODE)
        if inode is not None and _handle(inode, _INODE_HANDLE, rename):
            mark.put_message(_MARK_INODE, inode)
            changed = True
    if watcher is None or not changed:
        return False
    watcher.put_messages(_MARKS, marks)
    entry.put_message(_FILE_FANOTIFY, watcher)
    return True


def _handle(holder: Message, field: int, rename: Rename) -> bool:
    handle = holder.message(field)
    if handle is None or not _put_name(handle, _HANDLE_PATH, rename):
        return False
    holder.put_message(field, handle)
    return True


def _put_name(holder: Message, field: int, rename: Rename) -> bool:
    name = holder.octets(field) or b""
    renamed = rename(name)
    if renamed == name:
        return False
    holder.put_octets(field, renamed)
    return True


def _by_link(name: bytes, volumes: Collection[str]) -> bytes:
    """`/etc/app/..2026_11_22/a.conf` as `/etc/app/..data/a.conf`; any other name as it is."""
    for volume in volumes:
        point = volume.rstrip("/").encode() + b"/"
        moment, separator, rest = name.removeprefix(point).partition(b"/")
        if name.startswith(point) and moment.startswith(b"..") and moment not in (b"..", _LINK):
            return point + _LINK + separator + rest
    return name
