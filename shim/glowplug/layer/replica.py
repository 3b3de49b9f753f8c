"""Copying a directory tree so that an overlay above the copy shows what it shows above the original.

Every kind of entry is copied with its attributes: whiteouts (0:0 character devices), opaque directories (an
extended attribute), device nodes, FIFOs, hard links, sparse files. Sockets too: CRIU unlinks the path of each
Unix socket that it binds again (sk-unix.c, unlink_sk), and one left behind by a dead process is a file like
others, which a program may look for.
"""

from __future__ import annotations

import os
import stat

from glowplug import blake2
from glowplug.layer import attributes, descent
from glowplug.layer.contents import FileCopier, allocated
from glowplug.layer.descent import ENTER, LEAVE, Descent

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Collection

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOATIME | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

# Attributes that change what a lower file looks like, each with the overlay feature that honours it.
_FEATURES = {
    f"{prefix}.overlay.{name}": feature
    for prefix in ("trusted", "user")
    for name, feature in (("metacopy", "metacopy"), ("redirect", "redirect_dir"))
}


class Replica:
    """One copy of a tree (or of a few entries), and what was seen on the way.

    entries: directories, files and all others, the root not counted. bytes: taken on disk by regular files.
    features: overlay features without which the copy reads wrongly. fingerprint: see there.
    """

    def __init__(self) -> None:
        self.entries = 0
        self.bytes = 0
        self.features: set[str] = set()
        self._print = blake2.new(digest_size=16)
        self._files = FileCopier()
        self._links: dict[tuple[int, int], tuple[int, list[str]]] = {}

    @property
    def fingerprint(self) -> str:
        """Hex digest over names, kinds, owners, modes, sizes, links, attributes; not over bytes or times."""
        return self._print.hexdigest()

    def copy(self, source: Descent, target: Descent, select: Collection[str] | None = None) -> None:
        """Copy all below `source` (`select`: see `walk`) and the attributes of its root.

        What is in the way in `target` is replaced; directories are merged.
        """
        attributes.clear(target.fd)
        for step, name, status in descent.walk(source, select):
            if step == ENTER:
                self.enter(name, status, target)
            elif step == LEAVE:
                self.leave(source, name, status, target)
            else:
                self.put(source, name, status, target)

    def enter(self, name: str, status: os.stat_result, target: Descent) -> None:
        """Make the directory in `target`, unless it is there, and go into it."""
        _make_directory(name, target.fd)
        target.down(name)
        attributes.clear(target.fd)
        self.entries += 1
        self._note(b"d", name, status, [])

    def leave(self, source: Descent, name: str, status: os.stat_result, target: Descent) -> None:
        """Give the directory its attributes, now that nothing is made in it any more, and go out of it."""
        found = attributes.read(source.fd)
        attributes.set_on_descriptor(target.fd, status, found)
        self._note(b"u", name, status, found)
        if name:
            target.up()

    def put(self, source: Descent, name: str, status: os.stat_result, target: Descent) -> None:
        """Copy one entry that is not a directory, in the place of what bears its name."""
        try:
            self.make(source, name, status, target)
        except FileExistsError:
            descent.remove(name, target.fd)
            self.make(source, name, status, target)

    def make(self, source: Descent, name: str, status: os.stat_result, target: Descent) -> None:
        """Copy one entry that is not a directory; FileExistsError where there is one."""
        first = self._links.get((status.st_dev, status.st_ino))
        if first is not None:
            _link(target, first[1], name)
            self._print.update(b"h%s\0%d\0" % (os.fsencode(name), first[0]))
        elif stat.S_ISREG(status.st_mode):
            self._copy_file(source.fd, target.fd, name, status)
        else:
            self._make_special(source.fd, target.fd, name, status)
        if first is None and status.st_nlink > 1 and not is_whiteout(status):
            # The kernel makes one whiteout and links it everywhere, to spare inodes; that is no matter here.
            self._links[status.st_dev, status.st_ino] = len(self._links), [*target.names, name]
        self.entries += 1

    def _copy_file(self, source_fd: int, target_fd: int, name: str, status: os.stat_result) -> None:
        source = os.open(name, _READ, dir_fd=source_fd)
        try:
            target = os.open(name, _CREATE, 0o600, dir_fd=target_fd)
            try:
                self._files.copy(source, target, status)
                found = attributes.read(source)
                attributes.set_on_descriptor(target, status, found)
            finally:
                os.close(target)
        finally:
            os.close(source)
        self.bytes += allocated(status)
        self._note(b"f", name, status, found)

    def _make_special(self, source_fd: int, target_fd: int, name: str, status: os.stat_result) -> None:
        found: attributes.Attributes = []
        if is_whiteout(status):
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=target_fd)
            self._print.update(b"w%s\0" % os.fsencode(name))
            return
        if stat.S_ISLNK(status.st_mode):
            content = os.readlink(name, dir_fd=source_fd)
            os.symlink(content, name, dir_fd=target_fd)
            self._print.update(b"%s\0" % os.fsencode(content))
        else:
            os.mknod(name, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev, dir_fd=target_fd)
        found = attributes.read(attributes.path_of(source_fd, name))
        attributes.set_on_made(target_fd, name, status, found)
        self._note(b"s", name, status, found)

    def _note(self, kind: bytes, name: str, status: os.stat_result, found: attributes.Attributes) -> None:
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        facts = status.st_mode, status.st_uid, status.st_gid, size, status.st_rdev
        self._print.update(b"%s%s\0%o %d %d %d %d\0" % (kind, os.fsencode(name), *facts))
        for attribute, value in found:
            self._print.update(b"%s\0%d\0%s" % (os.fsencode(attribute), len(value), value))
            if attribute in _FEATURES:
                self.features.add(_FEATURES[attribute])


def is_whiteout(status: os.stat_result) -> bool:
    """Whether overlayfs takes this entry of an upper directory as "deleted here"."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _make_directory(name: str, dir_fd: int) -> None:
    """Not yet with the mode or the default ACL of the original: both would act on what is made inside."""
    try:
        os.mkdir(name, 0o700, dir_fd=dir_fd)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(attributes.path_of(dir_fd, name)).st_mode):
            os.unlink(name, dir_fd=dir_fd)
            os.mkdir(name, 0o700, dir_fd=dir_fd)


def _link(target: Descent, path: list[str], name: str) -> None:
    """Link `name` in `target` to the entry at `path` below its root, however long that path is."""
    with Descent(".", target.root) as place:
        for directory in path[:-1]:
            place.down(directory)
        os.link(path[-1], name, src_dir_fd=place.fd, dst_dir_fd=target.fd, follow_symlinks=False)
