"""An attempt that its runtime left is undone or completed, by what is there."""

import json
import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from glowplug import paths
from glowplug.agent import sweep
from glowplug.errors import HostError
from glowplug.host import process_life
from glowplug.outcomes.outcome import Outcome
from glowplug.restore import attempt, journal, take_back, undo, unmount
from glowplug.restore.attempt import Attempt


class Left:
    """An attempt whose runtime is gone, with the files that its restore had made so far."""

    def __init__(self, directory: Path, **more: object) -> None:
        self.root, self.bundle = directory / "runc", directory / "bundle"
        self.pid_file = self.bundle / "init.pid"
        self.bundle.mkdir()
        known = {"root": str(self.root), "bundle": str(self.bundle), "pid_file": str(self.pid_file)}
        fields = {"id": "c1", "runc": "/bin/true", "start": {"pod": "web"}, **known, **more}
        self.attempt = attempt.begin(journal.from_json(fields))
        self.state = self.root / "c1"

    def in_runc(self) -> None:
        """As runc has it at the gate, with our marker beside."""
        self.state.mkdir(parents=True)
        (self.state / "state.json").write_text("{}")
        (self.state / "glowplug").write_text("")

    def take_back(self, create_follows: bool = True) -> str:
        return take_back.take_back(self.attempt, create_follows=create_follows)


def process() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["sleep", "600"])


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Left]:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    made = Left(tmp_path)
    yield made
    made.attempt.release()


def outcomes() -> list[dict[str, object]]:
    names = sorted(os.listdir(paths.spool())) if os.path.isdir(paths.spool()) else []
    return [json.loads(Path(paths.spool(), name).read_text()) for name in names]


def test_one_that_was_not_let_go_is_undone(left: Left) -> None:
    left.in_runc()
    left.pid_file.write_text("1")
    aside = left.pid_file.with_name(f".{left.pid_file.name}")  # of a runc killed before the rename
    aside.write_text("1")
    assert left.take_back() == take_back.UNDONE
    assert not left.state.exists() and not left.pid_file.exists() and not aside.exists()
    assert [one["outcome"] for one in outcomes()] == ["fallback:killed"]
    assert attempt.names() == []


def test_one_that_was_let_go_and_lives_has_come_about(left: Left) -> None:
    """Its runtime was killed in the last milliseconds: nothing that has run is killed, and the pid file is runc's
    last work, which may be lacking."""
    running = process()
    left.in_runc()
    left.attempt.open(running.pid)
    assert left.take_back() == take_back.RESTORED
    assert running.poll() is None
    assert left.pid_file.read_text() == str(running.pid)
    assert left.state.exists()
    assert [(one["outcome"], one["pod"]) for one in outcomes()] == [("restored", "web")]
    running.kill()
    running.wait()


@pytest.mark.parametrize("lacks", ["process", "state", "marker", "create"])
def test_one_that_was_let_go_and_is_incomplete_is_undone(left: Left, lacks: str) -> None:
    running = process()
    left.in_runc()
    left.attempt.open(running.pid)
    if lacks == "process":
        running.kill()
        running.wait()
    elif lacks in ("state", "marker"):
        (left.state / {"state": "state.json", "marker": "glowplug"}[lacks]).unlink()
    assert left.take_back(create_follows=lacks != "create") == take_back.UNDONE
    assert not left.state.exists()
    running.kill()
    running.wait()


def test_from_done_on_nothing_is_undone(left: Left) -> None:
    """The undo records go one by one then: half of them undone would leave a container on files that are not its."""
    left.in_runc()
    left.attempt.complete()
    assert left.take_back(create_follows=False) == take_back.RESTORED
    assert left.state.exists()
    assert attempt.names() == []


def test_runc_is_ended_and_waited_for_before_anything_is_removed(left: Left) -> None:
    """The kernel kills it when its parent dies, but not at once: it made its state directory again meanwhile."""
    program = f"mkdir -p {left.state}; while :; do touch {left.state}/state.json; done"
    running = subprocess.Popen(["sh", "-c", program], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (left.state / "state.json").exists():
        assert time.monotonic() < until
    Path(left.attempt.runc_record).write_text(json.dumps([running.pid, process_life.start_time(running.pid)]))
    assert left.take_back() == take_back.UNDONE
    assert not left.state.exists()
    assert running.wait(60) == -9


def test_a_hung_criu_is_ended_too(left: Left) -> None:
    """It may be in no cgroup of the container's yet, and its parent is gone."""
    env = {**os.environ, attempt.VARIABLE: "c1"}
    hung, another = (
        subprocess.Popen(["sleep", "600"], env={**env, attempt.VARIABLE: name}) for name in ("c1", "c10")
    )
    left.take_back()
    assert hung.wait(60) == -9
    assert another.poll() is None
    another.kill()
    another.wait()


def test_another_process_with_runc_s_number_is_left_alone(left: Left) -> None:
    running = process()
    started = process_life.start_time(running.pid)
    assert started is not None
    Path(left.attempt.runc_record).write_text(json.dumps([running.pid, started - 1]))
    left.take_back()
    assert running.poll() is None
    running.kill()
    running.wait()


def test_what_the_runtime_said_of_its_failure_is_the_outcome(left: Left) -> None:
    failed = Outcome("fallback:memory", "short")
    failed.phases = {"memory": 1.5}
    left.attempt.note_failure(failed)
    left.take_back()
    (found,) = outcomes()
    assert (found["outcome"], found["detail"], found["phases"]) == (
        "fallback:memory",
        "short",
        {"memory": 1.5},
    )


def test_how_the_rootfs_was_mounted_is_known_completely_or_not_at_all(left: Left) -> None:
    """Its writer may be killed at any moment, and an attempt that can't be taken back refuses every create."""
    for number in range(40):
        with suppress(FileNotFoundError):
            os.unlink(left.attempt.rootfs_record)
        writer = os.fork()
        if writer == 0:
            while True:
                left.attempt.note_rootfs({"target": str(left.bundle), "options": "lowerdir=/a" * 400})
        time.sleep(0.001 + 0.0005 * (number % 10))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        if os.path.exists(left.attempt.rootfs_record):
            assert json.loads(Path(left.attempt.rootfs_record).read_text())["target"] == str(left.bundle)
    assert left.take_back(create_follows=False) == take_back.UNDONE


def test_nothing_is_removed_across_a_mount(left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    """runc's delete and ours would empty what is mounted there."""
    left.in_runc()
    monkeypatch.setattr(unmount, "strictly_below", lambda directory: [f"{directory}/criu-root"])
    monkeypatch.setattr(unmount, "detach_strictly_below", lambda directory, but="": None)
    with pytest.raises(HostError, match="is still mounted"):
        undo.forget_in_runc(left.attempt, 1.0)
    assert (left.state / "state.json").exists()


# -- the agent's sweep --


def test_the_sweep_leaves_one_whose_script_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It continues to runc create under that very number: whatever the sweep took back then would be that one's."""
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    script = process()
    left = Left(tmp_path, script=[script.pid, process_life.start_time(script.pid)])
    left.in_runc()
    left.attempt.release()
    sweep.take_back_one(left.attempt.journal)
    assert attempt.names() == ["c1"] and left.state.exists()
    script.kill()
    script.wait()
    sweep.take_back_one(left.attempt.journal)
    assert attempt.names() == [] and not left.state.exists()


@pytest.mark.parametrize("fault", [KeyError("source"), OSError(5, "I/O error"), TypeError("x")])
def test_the_sweep_continues_after_one_that_fails(
    fault: Exception, left: Left, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(left: Attempt, create_follows: bool) -> None:
        raise fault

    monkeypatch.setattr(undo, "give_back_rootfs", fail)
    left.attempt.release()
    with caplog.at_level(logging.INFO, "glowplug.agent"):
        sweep.take_back_one(left.attempt.journal)
    assert "c1 can't be taken back" in caplog.text
    assert attempt.names() == ["c1"]


def test_the_sweep_waits_for_nothing(left: Left) -> None:
    sweep.take_back_one(left.attempt.journal)
    assert attempt.names() == ["c1"]
