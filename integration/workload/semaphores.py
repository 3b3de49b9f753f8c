"""What multiprocessing and C leave in /dev/shm: semaphores, segments, files that nobody has open."""

import ctypes
import mmap
import multiprocessing
import os
import secrets
from collections.abc import Callable
from multiprocessing import shared_memory
from typing import Any

ANSWERS_WITHIN_S = 60
SIZE = 8192
DIRECTORIES = ("/dev/shm", "/tmp", "/scratch")


def multiprocess() -> Callable[[], object]:
    """A taken lock and two queues, shared with a process started by spawn (checkpoint-restore/criu#2980)."""
    context = multiprocessing.get_context("spawn")
    lock, requests, answered = context.Lock(), context.Queue(), context.Queue()
    lock.acquire()
    context.Process(target=_take, args=(lock, requests, answered), daemon=True).start()

    def takes() -> bool:
        requests.put("?")
        return bool(answered.get(timeout=ANSWERS_WITHIN_S))

    def look() -> object:
        """A taken lock nobody gets; of a released one the other process does, who gives it back."""
        while_taken = takes(), lock.acquire(block=False)
        lock.release()
        when_free = takes()
        return {"while_taken": while_taken, "when_free": when_free, "after": lock.acquire(block=False)}

    return look


def _take(lock: Any, requests: Any, answered: Any) -> None:
    while requests.get(timeout=None):
        taken = lock.acquire(block=False)
        if taken:
            lock.release()
        answered.put(taken)


def with_a_name() -> Callable[[], object]:
    """A semaphore of sem_open without sem_unlink, at 2."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.sem_open.restype = ctypes.c_void_p
    opened = ctypes.c_void_p(libc.sem_open(b"/workload", os.O_CREAT, 0o600, 3))
    libc.sem_wait(opened)

    def value(semaphore: ctypes.c_void_p) -> int:
        found = ctypes.c_int()
        libc.sem_getvalue(semaphore, ctypes.byref(found))
        return found.value

    return lambda: {
        "opened": value(opened),
        "by_name": value(ctypes.c_void_p(libc.sem_open(b"/workload", 0))),
    }


def segment() -> Callable[[], object]:
    """multiprocessing's SharedMemory, and a mapped file that lost the name it was opened by, in each directory."""
    opened = shared_memory.SharedMemory(name="workload-segment", create=True, size=SIZE)
    assert opened.buf is not None
    buffer = opened.buf
    buffer[:16] = secrets.token_bytes(16)
    renamed = {directory: _renamed(directory) for directory in DIRECTORIES if os.path.isdir(directory)}

    def look() -> object:
        with open("/dev/shm/workload-segment", "rb") as file:
            same = {"segment": file.read(16) == bytes(buffer[:16])}
        for directory, memory in renamed.items():
            with open(f"{directory}/second", "rb") as file:
                same[directory] = file.read(16) == memory[:16]
        listed = [name for directory in renamed for name in os.listdir(directory)]
        return {
            "name": opened.name,  # kept: its end would take the buffer away
            "token": bytes(buffer[:16]).hex(),
            "same": same,
            "left": [x for x in listed if "link_remap" in x],
        }

    return look


def _renamed(directory: str) -> mmap.mmap:
    with open(f"{directory}/first", "w+b") as file:
        file.truncate(SIZE)
        memory = mmap.mmap(file.fileno(), SIZE)
    memory[:16] = secrets.token_bytes(16)
    os.link(f"{directory}/first", f"{directory}/second")
    os.unlink(f"{directory}/first")
    return memory


def closed() -> Callable[[], object]:
    """A file and a directory in /dev/shm that nobody holds, and a file that has no name any more."""
    os.mkdir("/dev/shm/cache")
    with open("/dev/shm/cache/closed", "w") as file:
        file.write(secrets.token_hex(16))
    with open("/dev/shm/gone", "w+b") as gone:
        gone.truncate(SIZE)
        memory = mmap.mmap(gone.fileno(), SIZE)
    memory[:16] = secrets.token_bytes(16)
    os.unlink("/dev/shm/gone")

    def look() -> object:
        with open("/dev/shm/cache/closed") as file:
            return {"closed": file.read(), "gone": memory[:16].hex()}

    return look
