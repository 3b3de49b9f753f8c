"""Programs that the runtime runs end with it and within their time."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from glowplug.errors import RuncError
from glowplug.host import process
from glowplug.restore import attempt, child

WAIT_S = 60.0


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
    with pytest.raises(RuncError, match="the program /none/runc is not there"):
        child.run(["/none/runc"], WAIT_S)


def test_one_that_is_late_is_dead_afterwards() -> None:
    before = process.children(os.getpid())
    with pytest.raises(child.TimedOut):
        child.run(["/bin/sleep", "600"], 0.05)
    assert process.children(os.getpid()) == before


def test_one_that_waits_for_a_dead_child_is_ended() -> None:
    """As runc does whose CRIU was killed while the restored tasks have its socket."""
    program = "import os, time; os.fork() or (time.sleep(0.5), os._exit(1)); time.sleep(600)"
    with pytest.raises(child.Bereft):
        child.run([sys.executable, "-IS", "-c", program], 60)


def test_one_whose_child_was_killed_before_anybody_looked_is_ended_too(tmp_path: Path) -> None:
    """CRIU lives for some milliseconds before its first stage; its log stays."""
    log = tmp_path / "restore.log"
    program = (
        f"import os, time; os.fork() or (open({str(log)!r}, 'w'), os._exit(1)); os.wait(); time.sleep(600)"
    )

    def later(_is_over: object) -> None:
        until(log.exists)
        until(lambda: not any(map(process.has_helper, process.children(os.getpid()))))

    with pytest.raises(child.Bereft):
        child.run([sys.executable, "-IS", "-c", program], 60, meanwhile=later, helper_log=str(log))


def test_one_whose_child_has_ended_and_that_is_at_work_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As runc on a node whose disk or cores keep it from its end: CRIU has done its work."""
    monkeypatch.setattr(child, "BEREFT_S", 0.1)
    program = (
        "import os, time\nos.fork() or os._exit(0)\nend = time.monotonic() + 2\n"
        "while time.monotonic() < end: time.sleep(0.02)\nos._exit(5)"
    )
    assert child.run([sys.executable, "-IS", "-c", program], 60) == 5


def test_it_is_written_down_before_it_begins(tmp_path: Path) -> None:
    """So that a take-back finds runc, which is in no cgroup of the container's."""
    record = str(tmp_path / "runc")
    program = f"read numbers <{record}; echo $$ >{tmp_path}/own"
    assert child.run(["/bin/sh", "-c", program], WAIT_S, record=record) == 0
    found = attempt.read_process(record)
    assert found is not None and found[0] == int((tmp_path / "own").read_text())


def test_it_may_run_on_every_core(tmp_path: Path) -> None:
    """Whatever the node's CPUAffinity= for containerd is: restored processes have what runc has."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(every)})
    try:
        program = f"import os; open('{tmp_path}/mask', 'w').write(repr(sorted(os.sched_getaffinity(0))))"
        assert child.run([sys.executable, "-c", program], WAIT_S, any_cpu=True) == 0
    finally:
        os.sched_setaffinity(0, every)
    assert (tmp_path / "mask").read_text() == repr(sorted(every))


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
