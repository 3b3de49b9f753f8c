"""A task's process: its answer, what is no answer, and its end with the agent."""

import signal
import threading
import time
from pathlib import Path

import pytest

from glowplug.agent.child_tasks import ChildTasks, Ended


def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> ChildTasks:
    (tmp_path / "a_task.py").write_text(
        f"import json, os, sys, time\ntask = json.load(sys.stdin)\n{program}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return ChildTasks("a_task")


@pytest.mark.parametrize(
    ("program", "ended"),
    [
        ("print(json.dumps({'got': task}))", Ended(0, {"got": {"a": 1}})),
        ("print(json.dumps({'got': task})); sys.exit(3)", Ended(3, {"got": {"a": 1}})),
        ("", Ended(0, None)),
        ("print('[]')", Ended(0, None)),
        ("print('{')", Ended(0, None)),
        ("os.kill(os.getpid(), 9)", Ended(-9, None)),
    ],
    ids=["answers", "fails", "nothing", "list", "cut", "killed"],
)
def test_its_status_and_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, ended: Ended
) -> None:
    assert tasks(tmp_path, monkeypatch, program).run({"a": 1}) == ended


def test_it_ends_with_the_agent_and_none_begins_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = tmp_path / "begun"
    children = tasks(tmp_path, monkeypatch, f"open({str(begun)!r}, 'w').close(); time.sleep(600)")
    found: list[Ended | None] = []
    thread = threading.Thread(target=lambda: found.append(children.run({})))
    thread.start()
    deadline = time.monotonic() + 60
    while not begun.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    children.stop()
    thread.join(60)
    assert found == [Ended(-signal.SIGTERM, None)]
    assert children.run({}) is None
