"""Facts of processes that come and go while they are read."""

import os
import signal
import subprocess
import threading
import time

from glowplug.host import process


def soon() -> float:
    return time.monotonic() + 60


def test_members_are_found_below_every_thread() -> None:
    found: list[int] = []
    go = threading.Event()

    def fork() -> None:
        begun = subprocess.Popen(["sh", "-c", "sleep 600 & wait"])
        found.append(begun.pid)
        go.wait(60)
        for pid in process.members(begun.pid).values():
            os.kill(pid, signal.SIGKILL)
        begun.wait()

    thread = threading.Thread(target=fork)
    thread.start()
    try:
        until = soon()
        while not found or len(process.members(found[0])) < 2:
            assert time.monotonic() < until
        assert set(process.members(found[0]).values()) < set(process.members(os.getpid()).values())
    finally:
        go.set()
        thread.join()


def test_a_process_is_found_while_its_threads_come_and_go() -> None:
    """One thread that ends between two reads hides neither the process nor its children."""
    child = subprocess.Popen(["sleep", "600"])
    done = threading.Event()

    def churn() -> None:
        while not done.is_set():
            thread = threading.Thread(target=lambda: None)
            thread.start()
            thread.join()

    churning = [threading.Thread(target=churn) for _ in range(3)]
    for thread in churning:
        thread.start()
    try:
        for _ in range(300):
            found = process.members(os.getpid())
            assert {os.getpid(), child.pid} <= set(found.values())
    finally:
        done.set()
        for thread in churning:
            thread.join()
        child.kill()
        child.wait()
