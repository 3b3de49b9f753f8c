"""The gate holds at CRIU's last stage until it is opened; if we are gone it ends the tree."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from glowplug.criu import action_script
from glowplug.errors import CriuError


@pytest.fixture
def folder(tmp_path: os.PathLike[str]) -> str:
    return os.fspath(tmp_path)


@pytest.fixture
def tree() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def run(gate: action_script.Gate, init: int, stage: str = "pre-resume") -> "subprocess.Popen[bytes]":
    """The script as CRIU calls it."""
    env = {"PATH": os.environ["PATH"], "CRTOOLS_SCRIPT_ACTION": stage, "CRTOOLS_INIT_PID": str(init)}
    return subprocess.Popen([gate.script], env=env)


def soon() -> float:
    return time.monotonic() + 60


def test_it_holds_until_it_is_opened(folder: str, tree: "subprocess.Popen[bytes]") -> None:
    with action_script.Gate(folder, f"{folder}/opened") as gate:
        script = run(gate, tree.pid)
        assert gate.wait(soon(), lambda: script.poll() is not None) == tree.pid
        with pytest.raises(subprocess.TimeoutExpired):
            script.wait(0.2)
        gate.open()
        assert script.wait(60) == 0
    assert tree.poll() is None
    assert os.listdir(folder) == []


@pytest.mark.parametrize("stage", ["setup-namespaces", "post-restore", "network-unlock", "post-resume"])
def test_other_stages_go_by(folder: str, tree: "subprocess.Popen[bytes]", stage: str) -> None:
    with action_script.Gate(folder, f"{folder}/opened") as gate:
        assert run(gate, tree.pid, stage).wait(60) == 0
        assert gate.wait(soon(), lambda: True) is None


def test_it_says_when_the_tree_is_made_and_criu_continues(
    folder: str, tree: "subprocess.Popen[bytes]"
) -> None:
    with action_script.Gate(folder, f"{folder}/opened") as gate:
        assert run(gate, tree.pid, "post-restore").wait(20) == 0
        assert gate.wait_made(soon(), lambda: False) == tree.pid
        script = run(gate, tree.pid)
        assert gate.wait(soon(), lambda: False) == tree.pid
        gate.open()
        assert script.wait(20) == 0


def test_a_tree_that_reached_the_gate_before_its_message_is_made(
    folder: str, tree: "subprocess.Popen[bytes]"
) -> None:
    with action_script.Gate(folder, f"{folder}/opened") as gate:
        script = run(gate, tree.pid)
        assert gate.wait_made(soon(), lambda: False) == tree.pid
        assert gate.wait(soon(), lambda: False) == tree.pid
        gate.require_paused()
        gate.open()
        assert script.wait(20) == 0


def test_a_restore_that_ends_before_the_tree_is_made_has_none(folder: str) -> None:
    with action_script.Gate(folder, f"{folder}/opened") as gate:
        assert gate.wait_made(soon(), lambda: True) is None


def test_a_gate_that_closes_unopened_ends_the_tree(folder: str, tree: "subprocess.Popen[bytes]") -> None:
    with action_script.Gate(folder, f"{folder}/opened") as gate:
        script = run(gate, tree.pid)
        gate.wait(soon(), lambda: False)
    assert tree.wait(60) == -signal.SIGKILL
    script.wait(60)


def test_a_gate_that_closes_after_the_opening_was_recorded_lets_the_tree_run(
    folder: str, tree: "subprocess.Popen[bytes]"
) -> None:
    """A record found after our death says that the tree runs."""
    with action_script.Gate(folder, f"{folder}/opened") as gate:
        script = run(gate, tree.pid)
        gate.wait(soon(), lambda: False)
        with open(f"{folder}/opened", "w"):
            pass
    assert script.wait(60) == 0
    assert tree.poll() is None


def test_a_tree_whose_script_was_killed_is_not_paused(folder: str, tree: "subprocess.Popen[bytes]") -> None:
    """CRIU lets it run then: nothing more may be done as if it was paused."""
    with action_script.Gate(folder, f"{folder}/opened") as gate:
        script = run(gate, tree.pid)
        gate.wait(soon(), lambda: False)
        gate.require_paused()
        script.kill()
        script.wait(60)
        with pytest.raises(CriuError, match="was killed"):
            gate.require_paused()


def test_a_restore_that_ends_before_the_gate_is_seen(folder: str) -> None:
    with action_script.Gate(folder, f"{folder}/opened") as gate:
        assert gate.wait(soon(), lambda: True) is None


def test_a_restore_that_never_comes_is_out_of_time(folder: str) -> None:
    with action_script.Gate(folder, f"{folder}/opened") as gate, pytest.raises(CriuError, match="in time"):
        gate.wait(time.monotonic() + 0.1, lambda: False)


def test_a_folder_with_blanks_and_quotes(tmp_path: os.PathLike[str], tree: "subprocess.Popen[bytes]") -> None:
    folder = f"{tmp_path}/it's a $HOME"
    os.mkdir(folder)
    with action_script.Gate(folder, f"{folder}/opened") as gate:
        script = run(gate, tree.pid)
        assert gate.wait(soon(), lambda: script.poll() is not None) == tree.pid
        gate.open()
        assert script.wait(60) == 0


def test_a_gate_that_can_not_be_made_leaves_nothing(folder: str) -> None:
    with open(f"{folder}/gate.go", "w"):
        pass
    with pytest.raises(CriuError, match="gate"):
        action_script.Gate(folder, f"{folder}/opened")
    assert "gate.paused" not in os.listdir(folder)
