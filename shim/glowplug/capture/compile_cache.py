"""A container's compile caches put into the node's store, for the next cold start of its workload.

They are read while its processes run and may write: from the upper directory of its layer, so that nothing of the
image or of a volume is in it, by descriptors that follow no symlink. Only what is complete is kept: no file that a
process may write to, none that changed while it was read. Everything else than a regular file is left out.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass

from glowplug.cache import pack
from glowplug.cache.store import Store
from glowplug.checkpoint import compile_cache
from glowplug.checkpoint.bundle import BundleFacts
from glowplug.checkpoint.requirements import HostRequirements
from glowplug.errors import CaptureRefused, GlowplugError
from glowplug.host import process, removal
from glowplug.layer import beneath
from glowplug.layer.descent import Descent

MOST_BYTES = 1 << 30
MOST_FILES = 20_000
MOST_DEPTH = 40
"""Of directories below the root; what lies deeper is left out."""
_MOST_NAMES = 4 * MOST_FILES
_INDEX_BYTES = 512
"""Space for a file's line in the index."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOATIME | os.O_CLOEXEC
_PASSWD_BYTES = 1 << 20
_METACOPY = "trusted.overlay.metacopy"


@dataclass(frozen=True, slots=True)
class Kept:
    """`left_out`: files that were not complete, or not to be read. Sizes in bytes."""

    files: int
    bytes: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Container:
    """One that runs: its spec, its first process (a host pid), the upper directory of its layer."""

    facts: BundleFacts
    init: int
    upper: str

    @property
    def root(self) -> str:
        """The container's root directory, seen from this node."""
        return f"/proc/{self.init}/root"


def keep(
    store: Store, salt: bytes, key_digest: str, row: Callable[[], HostRequirements], container: Container
) -> dict[str, object]:
    """What a record says of it: `files`, `bytes`, `left_out`, or `detail`, why nothing is kept; empty where the pod
    asks for nothing. Whatever goes wrong is said there.
    """
    try:
        if compile_cache.requested(container.facts) is None:
            return {}
        name = compile_cache.name(salt, container.facts.sandbox_namespace, key_digest, row())
        if name is None:
            return {"detail": "its workload key, or what the node's code is compiled for, can't be known"}
        kept = save(store, name, key_digest, container)
        return asdict(kept) if kept.files else {**asdict(kept), "detail": "its layer holds none"}
    except (ValueError, OSError, GlowplugError) as error:
        return {"detail": str(error)}


def save(store: Store, name: str, key_digest: str, container: Container) -> Kept:
    """Its caches into the store as `name` (compile_cache.name), in the place of older ones.

    Nothing is kept where there is no file. Raises CaptureRefused where it is too much, ValueError for an annotation
    that can't be understood, GlowplugError, OSError.
    """
    directories = places(container)
    found = measured(container.upper, directories)
    if not found.files:
        return found
    with store.draft(found.bytes + found.files * _INDEX_BYTES) as draft:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(f"{draft.path}/{name}", flags, 0o600)
        try:
            writer = pack.Writer(descriptor, container.facts.sandbox_namespace, key_digest, time.time())
            kept = written(writer, container.upper, directories, _busy(container.init))
            writer.finish()
        finally:
            os.close(descriptor)
        if kept.files:
            store.keep_compile_cache(draft, name)
    return kept


def places(container: Container) -> list[str]:
    """Directories of its caches on its root file system, as absolute paths without a symlink in them.

    Raises ValueError for an annotation that can't be understood, OSError.
    """
    env = _env(container.facts.env)
    home = env.get("HOME") or _home(container)
    found: set[str] = set()
    for path in compile_cache.directories(env, home, compile_cache.requested(container.facts) or ()):
        for one in _expanded(container.root, path):
            found.update(_on_root_file_system(container.root, one))
    return sorted(one for one in found if not any(one.startswith(f"{other}/") for other in found))


def _env(entries: tuple[str, ...]) -> Mapping[str, str]:
    """runc's own rule for a variable that is there twice: the last one counts."""
    return dict(entry.partition("=")[::2] for entry in entries)


def _home(container: Container) -> str:
    """Of the container's user, as runc finds it where the spec has no HOME; "/" for a user without."""
    with suppress(OSError):
        descriptor = beneath.open_beneath(container.root, "/etc/passwd", os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                for line in file.read(_PASSWD_BYTES).decode(errors="replace").splitlines():
                    words = line.split(":")
                    if len(words) > 6 and words[2] == str(container.facts.uid) and words[5].startswith("/"):
                        return words[5].rstrip("/")
    return ""


def _expanded(root: str, path: str) -> Iterator[str]:
    if not path.endswith("*"):
        yield path
        return
    above, _, start = path[:-1].rpartition("/")
    with suppress(OSError):
        descriptor = beneath.open_beneath(root, above, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name, is_directory in _names(descriptor):
                if is_directory and name.startswith(start):
                    yield f"{above}/{name}"
        finally:
            os.close(descriptor)


def _on_root_file_system(root: str, path: str) -> Iterator[str]:
    """The directory's path without symlinks; nothing where there is none, or it is on a volume."""
    with suppress(OSError):
        descriptor = beneath.open_beneath(root, path, os.O_PATH | os.O_DIRECTORY)
        try:
            top = beneath.open_beneath(root, "/", os.O_PATH | os.O_DIRECTORY)
            try:
                real = os.readlink(f"/proc/self/fd/{descriptor}")
                if removal.mount_id(descriptor) == removal.mount_id(top) and real not in ("/", ""):
                    yield real
            finally:
                os.close(top)
        finally:
            os.close(descriptor)


def measured(upper: str, directories: list[str]) -> Kept:
    """What there is at the most. Raises CaptureRefused where that is too much."""
    files = size = 0
    for directory in directories:
        for _, name, status in _walk(upper, directory):
            if name and stat.S_ISREG(status.st_mode):
                files += 1
                size += status.st_size
                _require_bounded(files, size)
    return Kept(files, size, 0)


def _require_bounded(files: int, size: int) -> None:
    if files > MOST_FILES or size > MOST_BYTES:
        raise CaptureRefused(
            "compile-cache-size",
            f"the compile caches are more than {MOST_FILES} files or {MOST_BYTES >> 20} MiB, so none is kept: name "
            "directories with nothing else",
        )


def _busy(init: int) -> set[str]:
    """Files that a process of the container may write to, as the container names them."""
    found: set[str] = set()
    for pid in process.tree(init):
        found.update(process.written_files(pid))
    return found


def written(writer: pack.Writer, upper: str, directories: list[str], busy: set[str]) -> Kept:
    """What is complete of those directories, into a pack. `busy`: files that are not."""
    size = left_out = 0
    known: set[str] = set()
    for directory in directories:
        for place, name, status in _walk(upper, directory):
            path = "/".join((*place.names, name)) if name else "/".join(place.names)
            if not name:
                if path not in known:
                    _require_bounded(len(known) + 1, size)
                    writer.directory(path, status)
                    known.add(path)
                continue
            taken = -1
            if stat.S_ISREG(status.st_mode) and f"/{path}" not in busy:
                _require_bounded(writer.files + 1, size)
                taken = _file(writer, path, place, name, MOST_BYTES - size)
            size += max(0, taken)
            left_out += taken < 0
    return Kept(writer.files, size, left_out)


def _file(writer: pack.Writer, path: str, place: Descent, name: str, limit: int) -> int:
    """Its bytes; -1 where it is left out."""
    try:
        file_fd = os.open(name, _READ, dir_fd=place.fd)
    except OSError:
        return -1  # gone meanwhile, or another thing in its place
    try:
        if not stat.S_ISREG(os.fstat(file_fd).st_mode) or _METACOPY in os.listxattr(file_fd):
            return -1
        return writer.file(path, file_fd, limit)
    finally:
        os.close(file_fd)


def _walk(upper: str, directory: str) -> Iterator[tuple[Descent, str, os.stat_result]]:
    """Each directory on the way to `directory` and below it, with no name, where `place` is then; each entry of it
    that is not a directory. Nothing where the layer has no such directory.

    Raises CaptureRefused for too many entries, LayerError where a directory was moved meanwhile.
    """
    with Descent(upper) as place:
        for name in directory.strip("/").split("/"):
            try:
                place.down(name)
            except OSError:
                return
            yield place, "", os.fstat(place.fd)
        waiting, seen = [_read(place.fd)], 0
        while waiting:
            if not waiting[-1]:
                waiting.pop()
                if waiting:
                    place.up()
                continue
            name, is_directory = waiting[-1].pop()
            seen += 1
            if seen > _MOST_NAMES:
                _require_bounded(seen, 0)
            is_directory = is_directory and len(place.names) < MOST_DEPTH
            try:
                if is_directory:
                    place.down(name)
                status = os.fstat(place.fd) if is_directory else os.lstat(name, dir_fd=place.fd)
            except OSError:
                continue  # gone meanwhile, or another thing in its place
            if is_directory:
                waiting.append(_read(place.fd))
            yield place, "" if is_directory else name, status


def _read(fd: int) -> list[tuple[str, bool]]:
    return sorted(_names(fd), reverse=True)


def _names(fd: int) -> Iterator[tuple[str, bool]]:
    """Names with whether each is a directory; of more than are ever kept, only so many."""
    with os.scandir(fd) as scan:
        for count, entry in enumerate(scan):
            if count > _MOST_NAMES:
                _require_bounded(count, 0)
            yield entry.name, entry.is_dir(follow_symlinks=False)
