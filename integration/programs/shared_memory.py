"""Files of /dev/shm: closed, linked, below directories; and in an emptyDir that is there (of GPU pods)."""

import mmap
import multiprocessing
import os
import stat


def _written(path, text):
    with open(path, "w") as file:
        file.write(text)


def _read(path):
    with open(path) as file:
        return file.read()


def closed_below_directories():
    """With modes of their own, which an allocator's lock files have."""
    os.makedirs("/dev/shm/one/two", 0o750)
    _written("/dev/shm/one/two/file", "kept")
    os.chmod("/dev/shm/one/two/file", 0o640)

    def check():
        assert _read("/dev/shm/one/two/file") == "kept"
        assert stat.S_IMODE(os.stat("/dev/shm/one/two/file").st_mode) == 0o640
        assert stat.S_IMODE(os.stat("/dev/shm/one/two").st_mode) == 0o750

    return check


def closed_under_two_names():
    _written("/dev/shm/name", "kept")
    os.link("/dev/shm/name", "/dev/shm/other")
    os.symlink("name", "/dev/shm/link")

    def check():
        assert _read("/dev/shm/link") == "kept"
        assert os.path.samefile("/dev/shm/name", "/dev/shm/other"), "two files"

    return check


def closed_and_sparse():
    """A segment that is mostly empty, and another of no bytes."""
    with open("/dev/shm/sparse", "wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"middle")
    _written("/dev/shm/empty", "")

    def check():
        found = os.stat("/dev/shm/sparse")
        assert found.st_size == 64 << 20 and found.st_blocks * 512 < 1 << 20, found
        with open("/dev/shm/sparse", "rb") as file:
            file.seek(32 << 20)
            assert file.read(6) == b"middle"
        assert os.stat("/dev/shm/empty").st_size == 0

    return check


def _mapped(fd, size=4096):
    memory = mmap.mmap(fd, size)
    memory[:4] = b"kept"
    return memory


def mapped_by_name():
    fd = os.open("/dev/shm/open", os.O_CREAT | os.O_RDWR, 0o600)
    os.ftruncate(fd, 4096)
    memory = _mapped(fd)

    def check():
        assert memory[:4] == b"kept" and _read("/dev/shm/open")[:4] == "kept"
        memory[4:8] = b"more"
        assert _read("/dev/shm/open")[:8] == "keptmore", "the mapping is of another file"

    return check


def mapped_and_removed():
    """By two processes, as NCCL's segments are."""
    fd = os.open("/dev/shm/removed", os.O_CREAT | os.O_RDWR, 0o600)
    os.ftruncate(fd, 4096)
    memory = _mapped(fd)
    os.unlink("/dev/shm/removed")
    requests, answer = os.pipe(), os.pipe()
    if not os.fork():
        while os.read(requests[0], 1):
            os.write(answer[1], memory[:8])

    def check():
        memory[4:8] = b"both"
        os.write(requests[1], b"?")
        assert os.read(answer[0], 8) == b"keptboth", "no longer shared"

    return check


def semaphores():
    """multiprocessing's: mapped, and their names removed."""
    context = multiprocessing.get_context("fork")
    lock, counter = context.Lock(), context.Value("i", 7)
    lock.acquire()

    def check():
        assert not lock.acquire(block=False), "free"
        assert counter.value == 7

    return check
