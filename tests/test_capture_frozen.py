"""A container that a capture froze is thawed, however the capture ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from glowplug.capture.frozen import dump, frozen
from glowplug.capture.runc import Runc
from glowplug.errors import CriuError, RuncError, UsageError

# In runc's place: it keeps a status and says how it was called; a file of a verb's name is its exit status.
FAKE_RUNC = """#!/bin/sh
cd {directory}
shift 2 # --root and its value
[ "$1" = --log ] && shift 4
echo "$1" >>calls
if [ -e "$1" ]; then read -r status <"$1"; rm "$1"; exit "$status"; fi
case $1 in
    state) echo "{{\\"status\\": \\"$(cat status)\\"}}" ;;
    pause) sleep "${{PAUSE_S:-0}}"; echo paused >status ;;
    resume) echo running >status ;;
    checkpoint) exec sleep "${{DUMP_S:-0.2}}" ;;
esac
"""


class Node:
    """A fake runc with one container."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "c1").mkdir()
        (directory / "c1/state.json").write_text('{"config": {"labels": []}}')
        (directory / "work").mkdir()
        self.work = f"{directory}/work"
        self.status = "running"
        for name, text in (("runc", FAKE_RUNC.format(directory=directory)), ("criu", "#!/bin/sh\n")):
            (directory / name).write_text(text)
            (directory / name).chmod(0o755)
        self.runc = Runc(f"{directory}/runc", str(directory), f"{directory}/criu")

    @property
    def status(self) -> str:
        return (self.directory / "status").read_text().strip()

    @status.setter
    def status(self, text: str) -> None:
        (self.directory / "status").write_text(f"{text}\n")

    @property
    def calls(self) -> list[str]:
        return (self.directory / "calls").read_text().split()

    def fail_once(self, verb: str) -> None:
        (self.directory / verb).write_text("1\n")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_frozen_within_and_thawed_after(node: Node) -> None:
    with frozen(node.runc, "c1", node.work, {}):
        assert node.status == "paused"
    assert node.status == "running"
    assert node.calls == ["state", "pause", "state", "resume"]


def test_a_failure_within(node: Node) -> None:
    with pytest.raises(ZeroDivisionError), frozen(node.runc, "c1", node.work, {}):
        raise ZeroDivisionError
    assert node.status == "running"


def test_one_that_somebody_else_froze_is_theirs(node: Node) -> None:
    node.status = "paused"
    with pytest.raises(UsageError, match="c1 is paused"), frozen(node.runc, "c1", node.work, {}):
        raise AssertionError("not to be reached")
    assert node.calls == ["state"]


def test_one_that_can_not_be_frozen(node: Node) -> None:
    node.fail_once("pause")
    with pytest.raises(RuncError, match="runc pause c1"), frozen(node.runc, "c1", node.work, {}):
        raise AssertionError("not to be reached")
    assert node.status == "running"


def test_a_thaw_that_fails_is_tried_again_by_the_guard(node: Node) -> None:
    with pytest.raises(RuncError, match="runc resume c1"), frozen(node.runc, "c1", node.work, {}):
        node.fail_once("resume")
    assert node.status == "running"
    assert node.calls[-2:] == ["resume", "resume"]


def test_a_dump_is_waited_for_before_the_thaw(node: Node) -> None:
    """Also when we are interrupted: CRIU cut off in mid-work would leave its code in the processes."""
    with pytest.raises(KeyboardInterrupt), frozen(node.runc, "c1", node.work, {}) as guard:
        guard.watch(node.runc.start_checkpoint("c1", "/images", node.work, "/options"))
        raise KeyboardInterrupt
    assert guard.dump is not None and guard.dump.returncode == 0
    assert node.calls[-2:] == ["state", "resume"]


def test_a_dump_that_fails_says_why(node: Node) -> None:
    node.fail_once("checkpoint")
    Path(node.work, "dump.log").write_text("(00.1) 1: Error (criu/files.c:1): no luck\n")
    with (
        pytest.raises(CriuError, match=r"can't be dumped: an error about an open file .*CRIU: no luck"),
        frozen(node.runc, "c1", node.work, {}) as guard,
    ):
        dump(node.runc, "c1", f"{node.work}/images", node.work, guard, (), None)
    assert node.status == "running"


def test_our_own_death_thaws_it_once_the_dump_has_ended(node: Node) -> None:
    program = (
        "import sys, time\nfrom glowplug.capture.frozen import frozen\nfrom glowplug.capture.runc import Runc\n"
        "d = sys.argv[1]; runc = Runc(d + '/runc', d, d + '/criu')\n"
        "with frozen(runc, 'c1', d + '/work', {}) as guard:\n"
        "    guard.watch(runc.start_checkpoint('c1', '/images', d + '/work', '/options'))\n"
        "    print('frozen', flush=True); time.sleep(60)"
    )
    capture = subprocess.Popen(
        [sys.executable, "-c", program, str(node.directory)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "shim", "DUMP_S": "3"},
    )
    assert capture.stdout is not None
    with capture.stdout as said:
        assert said.readline() == b"frozen\n"
    capture.send_signal(signal.SIGKILL)
    capture.wait(timeout=60)
    assert node.status == "paused"  # the dump continues
    until = time.monotonic() + 60
    while node.status != "running":
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def stopped_in_popen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """A SIGTERM that interrupts, within the start of the program that has this verb: its Popen is lost then."""
    verbs: list[str] = []

    class Popen(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, arguments: list[str], **how: Any) -> None:
            super().__init__(arguments, **how)
            if verbs and verbs[0] in arguments:
                verbs.clear()
                os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield verbs.append
    signal.signal(signal.SIGTERM, before)


def test_a_stop_as_the_pause_begins_leaves_no_paused_container(
    node: Node, stopped_in_popen: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pause that nobody waits for would come after the look at whether there is something to thaw."""
    monkeypatch.setenv("PAUSE_S", "0.5")
    stopped_in_popen("pause")
    with pytest.raises(KeyboardInterrupt), frozen(node.runc, "c1", node.work, {}):
        raise AssertionError("it was stopped")
    assert node.calls == ["state", "pause", "state", "resume"]


def test_a_stop_as_the_dump_begins_waits_for_it(node: Node, stopped_in_popen: Callable[[str], None]) -> None:
    stopped_in_popen("checkpoint")
    with pytest.raises(KeyboardInterrupt), frozen(node.runc, "c1", node.work, {}) as guard:
        dump(node.runc, "c1", f"{node.directory}/images", node.work, guard, (), None)
    assert guard.dump is not None and guard.dump.returncode == 0
    assert node.status == "running"
