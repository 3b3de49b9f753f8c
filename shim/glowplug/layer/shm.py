"""Files of the pod's /dev/shm: those that captured processes have, open or mapped, or all that there are.

The tmpfs belongs to the pod's sandbox and is bound into the container, so CRIU opens its files by name and
never dumps them (a POSIX semaphore is a mapped file here too). Unlinked files are CRIU's: it keeps them in
its images as ghosts. The new pod's /dev/shm may have files of its other containers: none is touched.

Pages of an applied file are charged to the memory cgroup of the caller of `apply`.
"""

from __future__ import annotations

import errno
import os
import stat

from glowplug.errors import LayerError
from glowplug.layer import contents, descent, undo_record
from glowplug.layer.beneath import open_beneath, rmdir, unlink
from glowplug.layer.descent import ENTER, ENTRY, LEAVE, Descent
from glowplug.layer.replica import Replica

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

DESTINATION = "/dev/shm"


def open_files(pids: Iterable[int], shm_dir: str, destination: str = DESTINATION) -> set[str]:
    """Names below `shm_dir` (the tmpfs's path on the host) of files and directories that processes have open.

    destination: where the container has it mounted. The processes must be frozen. LayerError when one can't
    be read.
    """
    try:
        device = os.stat(shm_dir).st_dev
        inodes: set[int] = set()
        for pid in pids:
            inodes |= _opened(pid, device, destination) | _mapped(pid, device)
        return _names(shm_dir, inodes) if inodes else set()
    except OSError as error:
        raise LayerError(f"can't see which files of {destination} are open: {error}") from error


def all_files(shm_dir: str) -> set[str]:
    """Names below `shm_dir` of everything in it. LayerError when it can't be read."""
    found = set()
    try:
        with Descent(shm_dir) as place:
            for step, name, _ in descent.walk(place):
                if step != LEAVE:
                    found.add("/".join(place.names if step == ENTER else (*place.names, name)))
    except OSError as error:
        raise LayerError(f"can't see which files there are in {shm_dir}: {error}") from error
    return found


def capture(shm_dir: str, names: Collection[str], dest: str) -> int:
    """Copy the open files, and the directories they are in, to the new directory `dest`.

    Returns the bytes they take. LayerError when they can't be copied completely; then there is no `dest`.
    """
    replica = Replica()
    done = False
    try:
        os.mkdir(dest, 0o700)
        try:
            with Descent(shm_dir) as source, Descent(dest) as target:
                replica.copy(source, target, _with_parents(names))
            done = True
        finally:
            if not done:
                descent.remove(dest)
    except OSError as error:
        raise LayerError(f"can't copy shared memory files of {shm_dir}: {error}") from error
    return replica.bytes


def apply(source: str, shm_dir: str, record: str, links: Iterable[tuple[str, str]] = ()) -> None:
    """Put captured files into another pod's shared memory, beside what is there.

    record: path of the undo record. links: hard links to add until `finish`, each (a name below, the new name).
    LayerError when a file of one of the names is there with other content, owner or mode, or on any other failure:
    then everything is as before.
    """
    try:
        missing, links = _missing(source, shm_dir), list(links)
        added = [new for _, new in links]
        for path in added:
            if os.path.lexists(os.path.join(shm_dir, path)):
                raise LayerError(f"{path!r} is in the new pod's shared memory already: another restore's")
        undo_record.write(record, {"directory": shm_dir, "created": [*missing, *added], "links": added})
        done = False
        try:
            _create(source, shm_dir, frozenset(missing))
            for name, new in links:
                descent.link(shm_dir, name, new)
            done = True
        finally:
            if not done:
                undo(record)
    except OSError as error:
        raise LayerError(f"can't put shared memory files into {shm_dir}: {error}") from error


def undo(record: str) -> None:
    """Remove what `apply` created. Any number of times, after any interruption, also when the pod is gone."""
    try:
        content = undo_record.read(record)
        if content is not None and os.path.isdir(content["directory"]):
            with Descent(content["directory"]) as place:
                for path in reversed(content["created"]):
                    _remove(place.root, path)
        undo_record.forget(record)
    except OSError as error:
        raise LayerError(f"can't undo the shared memory files of {record}: {error}") from error


def finish(record: str) -> None:
    """Keep what was applied: remove the links, which nobody but CRIU knows of, and the undo record."""
    try:
        content = undo_record.read(record)
        if content is not None and content.get("links"):
            with Descent(content["directory"]) as place:
                for path in content["links"]:
                    _remove(place.root, path)
        undo_record.forget(record)
    except OSError as error:
        raise LayerError(f"can't remove the undo record {record}: {error}") from error


def _opened(pid: int, device: int, destination: str) -> set[int]:
    """Inodes of the tmpfs that descriptors and the working directory refer to.

    The link's text is looked at first: to stat a file of a FUSE server inside a frozen container would hang.
    """
    inodes = set()
    numbers = os.listdir(f"/proc/{pid}/fd")
    for link in (f"/proc/{pid}/cwd", *(f"/proc/{pid}/fd/{number}" for number in numbers)):
        if not f"{os.readlink(link)}/".startswith(f"{destination}/"):
            continue
        status = os.stat(link)
        if status.st_dev == device:
            inodes.add(status.st_ino)
    return inodes


def _mapped(pid: int, device: int) -> set[int]:
    """Inodes of the tmpfs that are mapped: fields 4 and 5 of /proc/PID/maps are device and inode."""
    wanted = b"%02x:%02x" % (os.major(device), os.minor(device))
    with open(f"/proc/{pid}/maps", "rb") as file:
        fields = (line.split(None, 5) for line in file)
        return {int(field[4]) for field in fields if field[3] == wanted}


def _names(shm_dir: str, inodes: set[int]) -> set[str]:
    """Names of those inodes; the root of the tmpfs itself is no file in it."""
    names = set()
    with Descent(shm_dir) as place:
        for step, name, status in descent.walk(place):
            if step != LEAVE and status.st_ino in inodes:
                names.add("/".join(place.names if step == ENTER else (*place.names, name)))
    return names


def _with_parents(paths: Iterable[str]) -> frozenset[str]:
    selected = set()
    for path in paths:
        while path:
            selected.add(path)
            path = path.rpartition("/")[0]
    return frozenset(selected)


def _missing(source: str, shm_dir: str) -> list[str]:
    """Captured paths that are not in the tmpfs yet, parents first. LayerError for one that is, otherwise."""
    missing = []
    with Descent(source) as place, Descent(shm_dir) as target:
        for step, name, status in descent.walk(place):
            if step == LEAVE:
                continue
            path = "/".join(place.names if step == ENTER else (*place.names, name))
            try:
                found = open_beneath(target.root, path, os.O_PATH | os.O_NOFOLLOW)
            except FileNotFoundError:
                missing.append(path)
                continue
            try:
                if not _same(place, name, status, found, step):
                    raise LayerError(f"the new pod's shared memory has another {path!r}, which would be lost")
            finally:
                os.close(found)
    return missing


def _same(place: Descent, name: str, status: os.stat_result, found: int, step: int) -> bool:
    """Whether a file that is there can stand for the captured one; any directory can."""
    there = os.fstat(found)
    if step == ENTER:
        return stat.S_ISDIR(there.st_mode)
    if _identity(there) != _identity(status):
        return False
    if not stat.S_ISREG(status.st_mode):
        return True
    captured = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.fd)
    try:
        opened = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return contents.same(captured, opened)
        finally:
            os.close(opened)
    finally:
        os.close(captured)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_rdev


def _create(source: str, shm_dir: str, created: Collection[str]) -> None:
    """Copy the captured paths of `created`, whose names must be free; the others' directories are there."""
    replica = Replica()
    with Descent(source) as place, Descent(shm_dir) as target:
        for step, name, status in descent.walk(place):
            path = "/".join((*place.names, name) if step == ENTRY else place.names)
            if step == ENTRY and path in created:
                replica.make(place, name, status, target)
            elif step == ENTER and path in created:
                os.mkdir(name, 0o700, dir_fd=target.fd)
                target.down(name)
            elif step == ENTER:
                target.down(name)
            elif step == LEAVE and path in created:
                replica.leave(place, name, status, target)
            elif step == LEAVE and name:
                target.up()


def _remove(root: int, path: str) -> None:
    """Remove one path; a directory only when nobody has put anything else there."""
    try:
        unlink(root, path)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        try:
            rmdir(root, path)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
