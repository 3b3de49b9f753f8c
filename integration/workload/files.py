"""Files in every state: changed in the layer, deleted while open, mapped, watched, without a name."""

import ctypes
import hashlib
import mmap
import os
import secrets
import select
import stat
import tempfile
from collections.abc import Callable

DATA = "/data"
IN_MODIFY = 0x2
PATIENCE_MS = 2000


def layer() -> Callable[[], object]:
    """Changes of all kinds under /data, made once; a try lists what is there."""
    with open(f"{DATA}/original", "a") as file:
        file.write("changed\n")
    os.unlink(f"{DATA}/deleted")
    os.makedirs(f"{DATA}/made/below", mode=0o750)
    with open(f"{DATA}/made/added", "w") as file:
        file.write(secrets.token_hex(16))
    os.chmod(f"{DATA}/made/added", 0o4711)
    os.setxattr(f"{DATA}/made/added", "user.token", secrets.token_bytes(8))
    os.link(f"{DATA}/made/added", f"{DATA}/made/below/hard")
    os.symlink("/etc/../data/made/added", f"{DATA}/made/symbolic")
    os.mkfifo(f"{DATA}/made/fifo", 0o600)
    os.utime(f"{DATA}/made/added", ns=(1_000_000_001, 2_000_000_002))
    if os.getuid() == 0:
        os.chown(f"{DATA}/made/below", 1000, 1000)
    return lambda: {path: _facts(path) for path in _below(DATA)}


def _below(directory: str) -> list[str]:
    found = [directory]
    for parent, directories, files in os.walk(directory):
        found += [f"{parent}/{name}" for name in directories + files]
    return sorted(found)


def _facts(path: str) -> dict[str, object]:
    status = os.lstat(path)
    facts: dict[str, object] = {
        "mode": oct(status.st_mode),
        "owner": [status.st_uid, status.st_gid],
        "links": status.st_nlink,
        "xattrs": {name: os.getxattr(path, name, follow_symlinks=False).hex() for name in _xattrs(path)},
    }
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            facts |= {"digest": hashlib.sha256(file.read()).hexdigest(), "mtime_ns": status.st_mtime_ns}
    if stat.S_ISLNK(status.st_mode):
        facts["target"] = os.readlink(path)
    return facts


def _xattrs(path: str) -> list[str]:
    return sorted(os.listxattr(path, follow_symlinks=False))


def unlinked() -> Callable[[], object]:
    """An open file that has no name any more, in the layer; a try reads it and adds a byte."""
    file = tempfile.TemporaryFile(dir="/tmp")  # noqa: SIM115
    file.write(secrets.token_bytes(16))

    def look() -> object:
        file.seek(0)
        content = file.read()
        file.write(b".")
        file.flush()
        return {"token": content[:16].hex(), "added": len(content) - 16}

    return look


def shm_map() -> Callable[[], object]:
    """A shared mapping of a file in /dev/shm, its descriptor closed; a try reads it by name as well."""
    path = "/dev/shm/mapped"
    with open(path, "w+b") as file:
        file.truncate(1 << 20)
        memory = mmap.mmap(file.fileno(), 1 << 20)
    memory[:16] = secrets.token_bytes(16)
    return lambda: {
        "token": memory[:16].hex(),
        "same_by_name": _reads(path, 16) == memory[:16],
        **_count(memory),
    }


def memfd() -> Callable[[], object]:
    """Memory behind a descriptor and a mapping of it."""
    descriptor = os.memfd_create("workload")
    os.ftruncate(descriptor, 4096)
    memory = mmap.mmap(descriptor, 4096)
    memory[:16] = secrets.token_bytes(16)
    return lambda: {
        "token": memory[:16].hex(),
        "same_by_descriptor": os.pread(descriptor, 16, 0) == memory[:16],
        **_count(memory),
    }


def _count(memory: mmap.mmap) -> dict[str, object]:
    """Writing works: a counter behind the token."""
    tries = int.from_bytes(memory[16:24], "little") + 1
    memory[16:24] = tries.to_bytes(8, "little")
    return {"tries": tries}


def _reads(path: str, length: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(length)


def inotify() -> Callable[[], object]:
    """A watch on a file; a try changes the file and waits for the event (inotify(7))."""
    libc = ctypes.CDLL(None, use_errno=True)
    path = f"{DATA}/watched"
    with open(path, "w"):
        pass
    watcher = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if watcher < 0 or libc.inotify_add_watch(watcher, path.encode(), IN_MODIFY) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def change() -> object:
        with open(path, "a") as file:
            file.write(".")
        poll = select.poll()
        poll.register(watcher, select.POLLIN)
        seen = bool(poll.poll(PATIENCE_MS))
        if seen:
            os.read(watcher, 4096)
        return {"seen": seen}

    return change


def descriptors() -> Callable[[], object]:
    """An eventfd and a pipe with content, watched by an epoll; a try takes it out and puts it back."""
    event = os.eventfd(7)
    reading, writing = os.pipe()
    os.write(writing, b"kept")
    poll = select.epoll()
    poll.register(event, select.EPOLLIN)
    poll.register(reading, select.EPOLLIN)

    def take() -> object:
        ready = sorted(fd for fd, _ in poll.poll(PATIENCE_MS / 1000))
        value, held = os.eventfd_read(event), os.read(reading, 64)
        os.eventfd_write(event, value)
        os.write(writing, held)
        return {"ready": ready == sorted([event, reading]), "event": value, "pipe": held.decode()}

    return take
