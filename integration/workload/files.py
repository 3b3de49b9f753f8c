"""Files in every state: changed in the layer, mapped, watched, descriptors without a file."""

import ctypes
import hashlib
import mmap
import os
import secrets
import select
import shutil
import stat
import struct
from collections.abc import Callable

DATA = "/data"
IN_MODIFY = 0x2
PATIENCE_MS = 30_000
# struct vfs_cap_data, revision 2 (linux/capability.h): CAP_NET_BIND_SERVICE permitted and effective
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)


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
    shutil.rmtree(f"{DATA}/opaque")
    os.makedirs(f"{DATA}/opaque/below")
    with open(f"{DATA}/opaque/new", "w") as file:
        file.write("in a directory made again\n")
    with open(f"{DATA}/made/hole", "wb") as file:
        file.truncate(1 << 20)
    if os.getuid() == 0:
        os.chown(f"{DATA}/made/below", 1000, 1000)
        os.chown(f"{DATA}/opaque/new", 1000, 2000)
        os.setxattr(f"{DATA}/opaque/new", "security.capability", CAPABILITY)
    os.utime(f"{DATA}/made/added", ns=(1_000_000_001, 2_000_000_002))
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


def open_file() -> Callable[[], object]:
    """The file WORKLOAD_FILE open for appending; a try says how long it is."""
    file = open(os.environ["WORKLOAD_FILE"], "ab")  # noqa: SIM115
    return lambda: {"bytes": os.fstat(file.fileno()).st_size}


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
    """Watches on a new file, and on a directory of the image; a try changes something in each, and waits."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/tmp/watched", "w"):
        pass
    watches = []
    for path, changed in (("/tmp/watched", "/tmp/watched"), ("/srv/still", "/srv/still/file")):
        watcher = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if watcher < 0 or libc.inotify_add_watch(watcher, path.encode(), IN_MODIFY) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        watches.append((watcher, changed))

    def change() -> object:
        return {path: _sees(watcher, path) for watcher, path in watches}

    return change


def _sees(watcher: int, path: str) -> bool:
    """Whether the watcher reports a change of this file."""
    with open(path, "w") as file:
        file.write(".")
    poll = select.poll()
    poll.register(watcher, select.POLLIN)
    seen = bool(poll.poll(PATIENCE_MS))
    if seen:
        os.read(watcher, 4096)
    return seen


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
        value, message = os.eventfd_read(event), os.read(reading, 64)
        os.eventfd_write(event, value)
        os.write(writing, message)
        return {"ready": ready == sorted([event, reading]), "event": value, "pipe": message.decode()}

    return take
