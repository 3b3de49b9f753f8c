"""The check at each restore: the manifest by the checkpoint's name, all sizes, the small files' digests.

Memory and the layer's content are checked when a checkpoint enters the cache and by `glowplug verify`:
reading them here would cost what the restore saves. Files with a blake2b digest are read in full: they are
the images that CRIU acts on.

Hot: the runtime imports this. Standard library only.
"""

import os
import stat

from glowplug import blake2
from glowplug.cache import facts, layout
from glowplug.errors import DamagedCheckpoint

_CHUNK = 1 << 20
_WORTH_THREADS = 32 << 20
_MOST_THREADS = 8


def checkpoint_id(manifest: bytes) -> str:
    """The name that a manifest's bytes give: the first 32 hexadecimal digits of their blake2b-256."""
    return blake2.new(manifest, digest_size=32).hexdigest()[: layout.ID_LENGTH]


def check(root: str, checkpoint_id: str) -> dict[str, object]:
    """The checkpoint's manifest, once everything it says has been found. Take a lease first.

    Raises DamagedCheckpoint with the file, what was expected and what was found; CacheError when there is no
    such checkpoint, or its manifest is of a form that this Glowplug does not read.
    """
    directory = layout.checkpoint(root, checkpoint_id)
    manifest = facts.read(root, checkpoint_id)
    try:
        check_name(checkpoint_id, manifest)
        check_directory(directory, ".")
        check_regular(directory, layout.MANIFEST)
        parsed = facts.parse(manifest)
        check_files(directory, facts.files(parsed))
    except DamagedCheckpoint as error:
        raise DamagedCheckpoint(f"checkpoint {checkpoint_id}: {error}") from error
    return parsed


def check_name(name: str, manifest: bytes) -> None:
    """Raises DamagedCheckpoint when the manifest is not the one that gave the checkpoint its name."""
    found = checkpoint_id(manifest)
    if found != name:
        raise DamagedCheckpoint(f"{layout.MANIFEST}: expected digest {name}, got {found}")


def check_files(directory: str, files: dict[str, facts.File]) -> None:
    """Raises DamagedCheckpoint for the first file that is not as listed."""
    known: set[str] = set()
    small: list[tuple[str, str]] = []
    for path, file in files.items():
        check_parents(directory, path, known)
        _check_size(directory, path, file)
        if file[2] == facts.BLAKE2B:
            small.append((path, file[3]))
    if sum(files[path][1] for path, _ in small) >= _WORTH_THREADS:
        _check_digests_at_once(directory, small)
    else:
        for path, digest in small:
            _check_digest(directory, path, digest)


def check_file(directory: str, path: str, file: facts.File) -> None:
    """One file's type, owner, mode, size and, where it is a small one, digest. The layer's tree: its size."""
    _check_size(directory, path, file)
    if file[2] == facts.BLAKE2B:
        _check_digest(directory, path, file[3])


def _check_size(directory: str, path: str, file: facts.File) -> None:
    found = tree_size(directory, path) if layout.is_tree(path) else check_regular(directory, path).st_size
    if found != file[1]:
        raise DamagedCheckpoint(f"{path}: expected {file[1]} bytes, got {found}")


def _check_digest(directory: str, path: str, digest: str) -> None:
    found = blake2b(directory, path)
    if found != digest:
        raise DamagedCheckpoint(f"{path}: expected {facts.BLAKE2B} {digest[:16]}…, got {found[:16]}…")


def _check_digests_at_once(directory: str, small: list[tuple[str, str]]) -> None:
    """By several threads: one hashes 0.6 GB/s, and an engine on two GPUs has 480 MB of such files."""
    import threading  # few have so much

    waiting = iter(small)  # a list's iterator gives each file to one thread
    failed: list[Exception] = []

    def check_some() -> None:
        for path, digest in waiting:
            try:
                _check_digest(directory, path, digest)
            except Exception as error:  # noqa: BLE001 - raised again below
                failed.append(error)
            if failed:
                return

    threads = [threading.Thread(target=check_some) for _ in range(min(_MOST_THREADS, os.cpu_count() or 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def check_parents(directory: str, path: str, known: set[str]) -> None:
    """Each directory on the way to path is one, and ours alone; known holds those already looked at."""
    parent = os.path.dirname(path)
    while parent and parent not in known:
        check_directory(directory, parent)
        known.add(parent)
        parent = os.path.dirname(parent)


def check_regular(directory: str, path: str) -> os.stat_result:
    """The status of a regular file (no link) that belongs to the one who runs, alone."""
    found = _status(directory, path)
    if not stat.S_ISREG(found.st_mode):
        raise DamagedCheckpoint(f"{path}: expected a regular file, got {stat.filemode(found.st_mode)}")
    return _check_owner(path, found)


def check_directory(directory: str, path: str) -> os.stat_result:
    """The status of a directory (no link) that belongs to the one who runs, alone."""
    found = _status(directory, path)
    if not stat.S_ISDIR(found.st_mode):
        raise DamagedCheckpoint(f"{path}: expected a directory, got {stat.filemode(found.st_mode)}")
    return _check_owner(path, found)


def _status(directory: str, path: str) -> os.stat_result:
    try:
        return os.lstat(f"{directory}/{path}")
    except OSError as error:
        raise DamagedCheckpoint(f"{path}: expected it there, got: {error.strerror}") from error


def _check_owner(path: str, found: os.stat_result) -> os.stat_result:
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise DamagedCheckpoint(
            f"{path}: expected owner {os.geteuid()} and no access for others, "
            f"got owner {found.st_uid} and {stat.filemode(found.st_mode)}"
        )
    return found


def blake2b(directory: str, path: str) -> str:
    """The blake2b-256 of a file's content, in hexadecimal. Raises DamagedCheckpoint when it can't be read."""
    state = blake2.new(digest_size=32)
    try:
        descriptor = os.open(f"{directory}/{path}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb", 0) as file:
            while chunk := file.read(_CHUNK):
                state.update(chunk)
    except OSError as error:
        raise DamagedCheckpoint(f"{path}: expected to read it, got: {error.strerror}") from error
    return state.hexdigest()


def tree_size(directory: str, path: str) -> int:
    """Bytes of the regular files beneath directory/path, each hard link counted: a layer tree's "size"."""
    total = 0
    pending = [f"{directory}/{path}"]
    try:
        if not stat.S_ISDIR(os.lstat(pending[0]).st_mode):
            raise DamagedCheckpoint(f"{path}: not a directory")
        while pending:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        total += entry.stat(follow_symlinks=False).st_size
    except OSError as error:
        raise DamagedCheckpoint(f"{path}: can't be read: {error.strerror}") from error
    return total
