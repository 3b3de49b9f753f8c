"""Settings that only the process itself can report, and make again: what one has, another one gets."""

import os
import subprocess
import sys

import pytest

from glowplug.host import own_settings, proc, process, thread_probe
from glowplug.host.remote_calls import Thread

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not thread_probe.can_call(), reason="not on this machine's CPU"),
]

BEGIN = """
import ctypes, os, sys, threading
libc = ctypes.CDLL(None)
def does(*arguments):
    if libc.syscall(*arguments) < 0:
        print("none", flush=True)
        os.read(0, 1)
        os._exit(0)
"""
WAIT = "\nprint('ready', flush=True)\nos.read(0, 1)\n"
MADE = {
    "mdwe": "does(157, 65, 1, 0, 0, 0)",
    "memory-merge": "does(157, 67, 1, 0, 0, 0)",
    "huge-pages-as-advised": "does(157, 41, 1, 2, 0, 0)",
    "amx": "does(158, 0x1023, 18)",
    "time-stamp-counter": "does(157, 26, 2, 0, 0, 0)",
    "cpuid": "does(158, 0x1012, 0)",
    "mce-kill": "does(157, 33, 1, 1, 0, 0)",
    "personality": "does(135, 0x40000)",
    "speculative-store": "does(157, 53, 0, 4, 0, 0)",
    "speculative-branch": "does(157, 53, 1, 4, 0, 0)",
    "l1d-flush": "does(157, 53, 2, 2, 0, 0)",
}


def begun(program: str) -> subprocess.Popen[str]:
    made = subprocess.Popen(
        [sys.executable, "-c", BEGIN + program + WAIT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert made.stdout is not None
    if made.stdout.readline() != "ready\n":
        end(made)
        pytest.skip("this kernel or CPU has no such setting")
    return made


def end(made: subprocess.Popen[str]) -> None:
    with made:
        made.kill()


def read(pid: int) -> dict[str, int]:
    found = thread_probe.ask(pid, [pid])
    return found[0].settings if found else {}


def test_every_setting_is_tried() -> None:
    assert set(MADE) == {one.name for one in own_settings.SETTINGS}


def test_a_plain_process_has_none_that_differ() -> None:
    made = begun("")
    try:
        assert read(made.pid) == {}
    finally:
        end(made)


@pytest.mark.parametrize("name", MADE)
def test_one_that_has_it_is_seen_and_another_gets_it(name: str) -> None:
    made = begun(MADE[name])
    try:
        has = read(made.pid)
        assert set(has) == {name}
    finally:
        end(made)
    other = begun("")
    try:
        with Thread(other.pid) as thread:
            own_settings.set_again(thread, has)
        assert read(other.pid) == has
        with Thread(other.pid) as thread:
            own_settings.set_again(thread, has)  # that it has already
    finally:
        end(other)


def test_a_thread_of_its_own() -> None:
    """A process's settings are said once, a thread's by each that has them."""
    program = """
def work():
    does(157, 33, 1, 1, 0, 0)
    ready.set()
    threading.Event().wait()
does(157, 65, 1, 0, 0, 0)
ready = threading.Event()
threading.Thread(target=work, daemon=True).start()
ready.wait()
"""
    made = begun(program)
    try:
        first, second = sorted(int(name) for name in os.listdir(f"/proc/{made.pid}/task"))
        found = {one.thread: one.settings for one in thread_probe.ask(made.pid, [first, second])}
        assert found == {first: {"mdwe": 1}, second: {"mce-kill": 1}}
    finally:
        end(made)


def test_many_threads_are_queried_by_several_processes() -> None:
    """Each thread once, and what is the process's own once."""
    program = """
def work(number):
    does(157, 33, 1, number % 2, 0, 0)
    ready.release()
    threading.Event().wait()
does(157, 65, 1, 0, 0, 0)
ready = threading.Semaphore(0)
for number in range(200):
    threading.Thread(target=work, args=(number,), daemon=True).start()
for _ in range(200):
    ready.acquire()
"""
    made = begun(program)
    try:
        threads = proc.tasks(made.pid)
        assert len(threads) == 201
        said = thread_probe.ask(made.pid, threads)
        assert len({one.thread for one in said}) == len(said)
        assert sorted(found for one in said for found in one.settings.items()) == [
            ("mce-kill", 0),
        ] * 100 + [("mce-kill", 1)] * 100 + [("mdwe", 1)]
    finally:
        end(made)


def test_an_asking_process_that_fails_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails_in_a_child(question: object, is_first: bool, usual: object) -> thread_probe.Found:
        if not is_first and os.getpid() != ours:
            raise OSError("not of this machine's own kind")
        return thread_probe.Found(0)

    ours = os.getpid()
    monkeypatch.setattr(thread_probe, "_of", fails_in_a_child)
    made = begun("for _ in range(60): threading.Thread(target=threading.Event().wait, daemon=True).start()")
    try:
        with pytest.raises(OSError, match="a process that queried them failed"):
            thread_probe.main(made.pid, proc.tasks(made.pid))
    finally:
        end(made)
    assert "not of this machine's own kind" in capfd.readouterr().err


def test_one_that_can_not_be_set_is_reported() -> None:
    made = begun("does(157, 65, 3, 0, 0, 0)")
    try:
        with Thread(made.pid) as thread, pytest.raises(OSError, match="mdwe of 0x1 can't be set again"):
            own_settings.set_again(thread, {"mdwe": 1})
    finally:
        end(made)


def test_a_stopped_process_stays_stopped() -> None:
    made = begun("")
    try:
        os.kill(made.pid, 19)
        while not process.is_stopped(made.pid):
            pass
        with Thread(made.pid) as thread:
            own_settings.set_again(thread, {"mdwe": 1})
        while not process.is_stopped(made.pid):
            pass
        assert read(made.pid) == {"mdwe": 1}
        os.kill(made.pid, 18)
        assert made.stdin is not None
        made.stdin.write("x")
        made.stdin.close()
        assert made.wait(60) == 0
    finally:
        end(made)
