"""`checkpoint` of a container that holds CUDA: off the device, dumped frozen, back, and paused as it was found."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cuda_target import Script, Target

from glowplug.cuda import process_group, undumpable
from glowplug.host import process as host_process
from glowplug.runtime import argv, checkpoint
from glowplug.runtime.status import DONE, REFUSED, RUNC

pytest_plugins = ["tests.cuda_target"]

Start = Callable[..., Target]

# In runc's place: it keeps a status and says how it was called.
FAKE_RUNC = """#!/bin/sh
cd {directory}
shift 2 # --root and its value
[ "$1" = --log ] && shift 2
echo "$1" >>calls
case $1 in
    state) echo "{{\\"status\\": \\"$(cat status)\\"}}" ;;
    pause) [ "$(cat status)" != stopped ] || exit 1; echo paused >status ;;
    resume) echo running >status ;;
    kill) (sleep 0.2; kill -9 {pid}) >/dev/null 2>&1 & echo stopped >status ;; # it dies in its own time
    checkpoint) sh ./dump {pid} ;;
esac
"""


class Container:
    """A process in a paused container of the fake runc."""

    def __init__(self, directory: Path, pid: int) -> None:
        self.directory = directory
        self.runc = directory / "runc"
        self.runc.write_text(FAKE_RUNC.format(directory=directory, pid=pid))
        self.runc.chmod(0o755)
        (directory / "status").write_text("paused\n")
        (directory / "c1").mkdir()
        self.known_as(pid, host_process.start_ticks(pid))
        self.dump_is("exit 0")

    def known_as(self, pid: int, start: int) -> None:
        """runc's record of its first process."""
        state = {"init_process_pid": pid, "init_process_start": start}
        (self.directory / "c1/state.json").write_text(json.dumps(state))

    def dump_is(self, script: str) -> None:
        (self.directory / "dump").write_text(script)

    def checkpoint(self, *flags: str) -> int:
        args = ["--root", str(self.directory), "--log", f"{self.directory}/log.json"]
        args += ["checkpoint", "--image-path", "/none", *flags, "c1"]
        return checkpoint.run(str(self.runc), argv.parse(args), args)

    @property
    def calls(self) -> list[str]:
        path = self.directory / "calls"
        return path.read_text().split() if path.exists() else []

    @property
    def said(self) -> str:
        found: str = json.loads((self.directory / "log.json").read_text())["msg"]
        return found

    @property
    def is_paused(self) -> bool:
        return (self.directory / "status").read_text() == "paused\n"


@pytest.fixture(autouse=True)
def libcuda(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers' is the fake's; a dump has no container's streams."""
    monkeypatch.setenv("LD_LIBRARY_PATH", driver)
    monkeypatch.setattr(checkpoint, "STDIO", None)


@pytest.fixture
def holder(target: Start) -> Target:
    return target()


@pytest.fixture
def container(tmp_path: Path, holder: Target) -> Iterator[Container]:
    (tmp_path / "container").mkdir()
    yield Container(tmp_path / "container", holder.pid)


def state(driver: str, pid: int) -> str:
    with process_group.ProcessGroup("driver", f"{driver}/libcuda.so.1") as group:
        group.attach([pid])
        return group.states(5)[pid]


def test_it_continues_as_it_was_found(
    driver: str, script: Script, container: Container, holder: Target
) -> None:
    assert container.checkpoint("--leave-running") == DONE
    assert container.calls == ["state", "resume", "pause", "checkpoint", "state", "resume", "pause"]
    assert [line.split()[0] for line in script.calls()][-4:] == ["lock", "checkpoint", "restore", "unlock"]
    assert state(driver, holder.pid) == "running"
    assert container.is_paused


def test_it_ends_with_its_checkpoint(script: Script, container: Container) -> None:
    container.dump_is("kill -9 $1")
    assert container.checkpoint() == DONE
    assert script.calls("restore ") == []
    assert container.calls[-1] == "checkpoint"


def test_a_dump_that_fails_has_cuda_back(driver: str, container: Container, holder: Target) -> None:
    container.dump_is("exit 1")
    assert container.checkpoint("--leave-running") == REFUSED
    assert state(driver, holder.pid) == "running"
    assert container.is_paused


@pytest.mark.parametrize("line", ["fail lock any 600", "fail checkpoint any 801"])
def test_what_the_driver_refuses_is_reported_and_nothing_dumped(
    line: str, script: Script, driver: str, container: Container, holder: Target
) -> None:
    script.say(line)
    assert container.checkpoint("--leave-running") == REFUSED
    assert "checkpoint: " in container.said and "cuCheckpointProcess" in container.said
    assert "checkpoint" not in container.calls
    assert container.is_paused
    assert state(driver, holder.pid) == "running"


def test_what_can_not_be_dumped_is_reported_with_cuda_back(
    driver: str, container: Container, holder: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undumpable, "_descriptors", lambda pid: ["/dev/nvidiactl"])
    assert container.checkpoint("--leave-running") == REFUSED
    assert f"process {holder.pid} (target) holds /dev/nvidiactl" in container.said
    assert "checkpoint" not in container.calls
    assert container.is_paused
    assert state(driver, holder.pid) == "running"


def test_a_container_whose_cuda_is_lost_is_killed_and_says_why(
    script: Script, container: Container, holder: Target
) -> None:
    container.dump_is(f"echo fail restore any 801 >{script.path}")
    assert container.checkpoint("--leave-running") == REFUSED
    assert "operation not supported" in container.said and "docs/gpu.md" in container.said
    assert container.calls[-1] == "kill"
    holder.ended()


def test_one_without_cuda_is_runcs_untouched(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        container = Container(tmp_path, process.pid)
        assert container.checkpoint("--leave-running") == RUNC
        assert container.calls == []
    finally:
        process.kill()
        process.wait(timeout=60)


@pytest.mark.parametrize("flag", ["--pre-dump", "--lazy-pages"])
def test_what_cuda_has_no_part_in_is_runcs(flag: str, container: Container) -> None:
    assert container.checkpoint(flag) == RUNC
    assert container.calls == []


def test_a_container_that_runc_does_not_know_is_runcs(container: Container) -> None:
    os.unlink(container.directory / "c1/state.json")
    assert container.checkpoint() == RUNC


def test_a_pid_that_is_another_s_by_now_is_left_alone(container: Container) -> None:
    """runc's record names the process by its number and its start."""
    pid = int(json.loads((container.directory / "c1/state.json").read_text())["init_process_pid"])
    container.known_as(pid, host_process.start_ticks(pid) - 1)
    assert container.checkpoint() == RUNC
    assert container.calls == []
