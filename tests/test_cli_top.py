"""`glowplug top` shows starts, what is under way and the cache: one picture in a pipe, and live in a terminal."""

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console
from tests.cli_made import Node

from glowplug import config
from glowplug.cli import history, top_frame
from glowplug.outcomes.starts import Start
from glowplug.restore import attempt, progress
from glowplug.restore.journal import Journal

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the history is root's")


@pytest.fixture
def node(tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Node:
    return Node(str(tmp_path), monkeypatch, capsys)


def test_a_pipe_gets_one_plain_picture(node: Node) -> None:
    node.store.pin(node.published())
    now = time.time()
    node.started(now - 100, "cold:no-checkpoint")
    node.started(now - 50, "fallback:criu", container_id="d1" * 32, pod="other")
    node.started(
        now - 5, "restored", container_id="e2" * 32, phases={"memory": 0.5}, memory_bytes=4_000_000_000
    )
    ran = node.run("top")
    assert (ran.status, ran.err) == (0, "")
    assert all(letter.isprintable() or letter == "\n" for letter in ran.out)
    assert "1 restored 1 cold 1 fallback" in ran.out
    assert "1 checkpoints, 1 pinned" in ran.out
    outcomes = [line.split()[2] for line in ran.out.splitlines() if "/main" in line]
    assert outcomes == ["restored", "fallback:criu", "cold:no-checkpoint"]
    assert "8.0 GB/s" in ran.out


def test_what_is_under_way_is_shown(node: Node) -> None:
    trial = attempt.begin(Journal("f3" * 32))
    progress.report(trial.progress, 2_000_000_000, 24_000_000_000)
    out = node.run("top", "--once").out
    trial.finish()
    assert [line.split()[:2] for line in out.splitlines() if line.startswith("restore")] == [
        ["restore", "f3f3f3f3f3f3"]
    ]
    assert "2.0 GB of 24.0 GB" in out


def picture(node: Node, width: int, height: int) -> list[str]:
    """Of a terminal of that size."""
    out = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    with out.capture() as captured:
        out.print(top_frame.View(config.load(node.config)).frame(out))
    return captured.get().splitlines()


@pytest.mark.parametrize(("width", "height"), [(200, 50), (80, 24), (60, 16), (40, 12)])
def test_a_picture_fits_into_its_terminal(node: Node, width: int, height: int) -> None:
    """With starts and restores without end, and names as long as they come."""
    now = time.time()
    for number in range(60):
        node.started(now - number, "cold:no-checkpoint", container_id=f"{number:02}" * 32, pod="x" * 63)
    trials = [attempt.begin(Journal(f"{number:02}" * 32)) for number in range(30)]
    shown = picture(node, width, height)
    for trial in trials:
        trial.finish()
    assert len(shown) <= height
    assert max(map(len, shown)) <= width
    restores = [line for line in shown if line.startswith("restore")]
    assert restores and f"and {30 - len(restores)} more" in shown
    starts = [line for line in shown if "cold:no-checkpoint" in line]
    assert starts and all(re.match(r" *[0-9]+s +models/x", line) for line in starts)


def test_a_long_history_is_not_read_all_the_time(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []

    def read(cache: str) -> list[Start]:
        reads.append(cache)
        return []

    monkeypatch.setattr(history, "read", read)
    for rests, expected in ((0, 2), (1e9, 3)):
        monkeypatch.setattr(top_frame, "RESTS", rests)
        view = top_frame.View(config.load(node.config))
        for number in range(2):
            node.started(time.time(), "cold:no-agent", container_id=f"{rests}{number}")
            view.frame(Console())
        assert len(reads) == expected


def test_a_terminal_that_can_only_be_written_to_gets_one_picture(node: Node) -> None:
    """Such as an editor's: it can't be painted over."""
    node.started(time.time(), "cold:no-agent")
    os.makedirs(node.cache, exist_ok=True)
    parent, child = pty.openpty()
    with _top(node, child, TERM="dumb") as running:
        os.close(child)
        _read_until(parent, b"cold:no-agent")
        assert running.wait(60) == 0
    os.close(parent)


def test_no_number_is_no_interval(node: Node) -> None:
    ran = node.run("top", "--interval", "nan")
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)


def test_an_empty_node_and_a_hostile_name_are_shown(node: Node) -> None:
    assert "no start is on record" in node.run("top").out
    node.started(1.0, "cold:x[/]\x1b[31m", pod="[red]web\x1b]0;x\x07")
    out = node.run("top").out
    assert "\x1b" not in out
    assert "[red]web" in out


def test_a_terminal_is_live_until_it_is_interrupted(node: Node) -> None:
    node.started(time.time(), "cold:no-agent")
    os.makedirs(node.cache, exist_ok=True)
    parent, child = pty.openpty()

    with _top(node, child, TERM="xterm") as running:
        try:
            os.close(child)
            _read_until(parent, b"cold:no-agent")
            node.started(time.time(), "restored", container_id="d1" * 32)
            _read_until(parent, b"restored\x1b")
            running.send_signal(signal.SIGINT)
            shown = _read_until(parent, b"\x1b[?1049l")
            assert running.wait(60) == 0
        finally:
            running.kill()
    os.close(parent)
    assert b"Traceback" not in shown


def _top(node: Node, terminal: int, **environment: str) -> "subprocess.Popen[bytes]":
    """`glowplug top` on a terminal."""
    # A test run in a shell's background has SIGINT ignored, and so would what it starts.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from glowplug.cli.main import main; sys.argv = ['glowplug', *sys.argv[1:]]; main()"
    )
    env = {**os.environ, "GLOWPLUG_RUN_DIR": f"{node.directory}/run", **environment}
    command = [sys.executable, "-c", code, "top", "--interval", "0.2", "--config", node.config]
    return subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=env)


def _read_until(terminal: int, wanted: bytes) -> bytes:
    found, until = b"", time.monotonic() + 60
    while wanted not in found:
        assert time.monotonic() < until, found[-500:]
        if select.select([terminal], [], [], 0.1)[0]:
            found += os.read(terminal, 65536)
    return found
