"""Files that processes hold or watch in ConfigMaps and the like, by the name that they have in every pod.

The kubelet keeps such a volume's files in a directory named by the moment, behind a link `..data` (kubelet,
atomic_writer.go). The kernel tells CRIU the name through that directory, which no other pod has: a shell, say,
holds the script that it runs. Through the link the new pod's file is found, which is the same by its content.
"""

from collections.abc import Callable, Collection

from glowplug.criu import images
from glowplug.criu.images import Message

# images/regfile.proto, fsnotify.proto, fh.proto, fdinfo.proto
_FILE_REG, _NAME = 3, 6
_FILE_INOTIFY, _WATCHES, _WATCH_HANDLE = 13, 5, 7
_FILE_FANOTIFY, _MARKS, _MARK_INODE, _INODE_HANDLE = 14, 6, 7, 2
_HANDLE_PATH = 4
_LINK = b"..data"

Rename = Callable[[bytes], bytes]


def name_by_link(images_dir: str, volumes: Collection[str]) -> int:
    """Rename, in files.img, the files and directories of these mount points that processes hold or watch; how many
    open files were changed. Called once on a fresh dump.

    volumes: mount points in the container, of volumes that a kubelet writes. Raises ImageError.
    """
    if not volumes:
        return 0

    def rename(name: bytes) -> bytes:
        return _by_link(name, volumes)

    entries = images.load(images_dir, "files.img", "files")
    changed = sum(
        _file(entry, rename) | _inotify(entry, rename) | _fanotify(entry, rename) for entry in entries
    )
    if changed:
        images.store(images_dir, "files.img", "files", entries)
    return changed


def _file(entry: Message, rename: Rename) -> bool:
    """A working directory is a file of the images, too."""
    file = entry.message(_FILE_REG)
    if file is None or not _put_name(file, _NAME, rename):
        return False
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
