"""Programs that the runtime runs end with it and within their time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from glowplug.errors import RuncError
from glowplug.host import process
from glowplug.restore import child

WAIT_S = 10.0


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_its_status_and_its_descriptors() -> None:
    read, write = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    assert child.run(["/bin/sh", "-c", "echo out; exit 7"], WAIT_S, (null, write, null)) == 7
    assert os.read(read, 100) == b"out\n"
    for fd in (read, write, null):
        os.close(fd)


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(RuncError, match="wanted the program /none/runc, found none that can be run"):
        child.run(["/none/runc"], WAIT_S)


def test_one_that_is_late_is_dead_afterwards() -> None:
    before = process.children(os.getpid())
    with pytest.raises(child.TimedOut):
        child.run(["/bin/sleep", "600"], 0.05)
    assert process.children(os.getpid()) == before


def test_one_that_waits_for_a_dead_child_is_ended() -> None:
    """As runc does whose CRIU was killed while the restored tasks hold its socket."""
    program = "import os, time; os.fork() or (time.sleep(0.5), os._exit(1)); time.sleep(600)"
    began = time.monotonic()
    with pytest.raises(child.Bereft):
        child.run([sys.executable, "-IS", "-c", program], 60)
    assert time.monotonic() - began < 30


def test_an_alarm_in_the_middle_kills_it() -> None:
    def late(_number: int, _frame: FrameType | None) -> None:
        raise InterruptedError

    before = process.children(os.getpid())
    handler = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(InterruptedError):
            child.run(["/bin/sleep", "600"], WAIT_S)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert process.children(os.getpid()) == before


def test_it_dies_with_the_runtime() -> None:
    shim = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(child.__file__))))
    program = (
        f"import sys; sys.path.insert(0, {shim!r}); from glowplug.restore import child;"
        "child.run(['/bin/sleep', '654'], 60)"
    )
    runtime = subprocess.Popen([sys.executable, "-IS", "-c", program])
    until(lambda: bool(process.children(runtime.pid)))
    (sleeping,) = process.children(runtime.pid)
    runtime.kill()
    runtime.wait()
    until(lambda: not process.is_alive(sleeping))


def test_what_a_late_one_started_dies_with_it(tmp_path: Path) -> None:
    with pytest.raises(child.TimedOut):
        child.run(["/bin/sh", "-c", f"sleep 600 & echo $! >{tmp_path}/pid; wait"], 0.5)
    until(lambda: not process.is_alive(int((tmp_path / "pid").read_text())))
