"""Whoever takes a record in, everybody is told of it: log, judgement of the checkpoint, and the tellers."""

import json
import logging
import os
import subprocess
import sys

import pytest
from tests.cli_made import Node

import glowplug
from glowplug.agent import capture_told, intake, logs
from glowplug.agent.history import History
from glowplug.agent.record import Record
from glowplug.capture.request import Request, Result
from glowplug.errors import CriuError, UsageError


@pytest.fixture
def node(tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Node:
    return Node(str(tmp_path), monkeypatch, capsys)


def listening(node: Node) -> tuple[History, list[Record]]:
    os.makedirs(node.cache, exist_ok=True)
    history = History(node.cache)
    told: list[Record] = []
    history.tellers.append(told.append)
    return history, told


def test_each_record_is_told_once_whoever_asks(node: Node) -> None:
    history, told = listening(node)
    node.started(1.0, "cold:no-checkpoint")
    answer = intake.answer(node.store, history, {"op": "history"})
    assert [record["outcome"] for record in told] == ["cold:no-checkpoint"]
    assert answer == {"records": told}
    intake.take_in(node.store, history)
    assert len(told) == 1


def test_what_happened_without_an_agent_is_told_by_the_next(node: Node) -> None:
    node.started(1.0, "cold:no-agent")
    history, told = listening(node)
    intake.take_in(node.store, history)
    assert [record["outcome"] for record in told] == ["cold:no-agent"]


def test_a_checkpoint_at_fault_is_set_apart_and_that_is_told(node: Node) -> None:
    checkpoint = node.published()
    history, told = listening(node)
    node.started(1.0, "fallback:check", checkpoint=checkpoint, detail="images/core-1.img has another digest")
    intake.take_in(node.store, history)
    assert node.store.state(checkpoint).quarantine is not None
    assert [(record.get("event"), record.get("stage")) for record in told] == [
        (None, None),
        ("quarantine", "check"),
    ]


def test_three_early_exits_are_told_as_one_quarantine(node: Node) -> None:
    checkpoint = node.published()
    history, told = listening(node)
    for number in range(4):
        node.spooled(f"{number}.0-1", {"event": "exit", "checkpoint": checkpoint, "ran_s": 0.5})
    intake.take_in(node.store, history)
    assert [record["stage"] for record in told if record["event"] == "quarantine"] == ["early-exit"]


def test_rubbish_costs_no_other_record(node: Node) -> None:
    history, told = listening(node)
    node.spooled("1.0-1", {"outcome": 7, "checkpoint": ["x"], "phases": [], "total_s": "x", "event": {}})
    node.spooled("1.1-1", {"event": "exit", "checkpoint": "../../etc", "ran_s": True})
    node.started(2.0, "restored")
    intake.take_in(node.store, history)
    assert told[-1]["outcome"] == "restored"


def test_a_capture_is_told_whatever_became_of_it(node: Node) -> None:
    history, told = listening(node)
    assert capture_told.captured(Result("ab" * 16, "models", "web", "main", pause_s=0.4, bytes=7), "agent")
    assert capture_told.not_captured(Request("models", "web"), UsageError("no room"), "agent")
    assert capture_told.not_captured(Request("models", "web"), CriuError("broke"), "command")
    assert capture_told.not_needed("models", "web", "main", "the node captures nothing")
    intake.take_in(node.store, history)
    assert [(record["result"], record["by"]) for record in told] == [
        ("captured", "agent"),
        ("refused", "agent"),
        ("failed", "command"),
        ("not-needed", "agent"),
    ]
    assert node.run("history").out == "no start is on record\n"  # a capture is no start


# -- the log --


def line(form: str, *, in_journal: bool = False) -> str:
    record = logging.LogRecord("glowplug", logging.WARNING, "", 0, "set %s", ("apart",), None)
    record.created = 1772373731.25
    record.__dict__.update(
        logs.fields({"pod": "we b", "detail": 'a "b"\n\x1b[31mc', "empty": "", "none": None, "n": 3})
    )
    return logs.Lines(form, in_journal=in_journal).format(record)


def test_a_line_as_logfmt() -> None:
    assert line("logfmt") == (
        "time=2026-03-01T14:02:11.250Z level=warning"
        r' msg="set apart" pod="we b" detail="a \"b\"\n\u001b[31mc" n=3'
    )


def test_logfmt_has_a_field_for_each_phase() -> None:
    record = logging.LogRecord("glowplug", logging.INFO, "", 0, "start", None, None)
    record.__dict__.update(logs.fields({"phases": {"criu": 0.25, "memory": 1}, "odd": {"a b": 1}}))
    line = logs.Lines("logfmt", in_journal=True).format(record)
    assert line == r'<6>level=info msg=start phases.criu=0.25 phases.memory=1 odd="{\"a b\": 1}"'


def test_a_line_as_json() -> None:
    assert line("json") == (
        '{"time": "2026-03-01T14:02:11.250Z", "level": "warning", "msg": "set apart", "pod": "we b", '
        r'"detail": "a \"b\"\n\u001b[31mc", "n": 3}'
    )


def test_journald_gets_the_level_and_keeps_the_time() -> None:
    assert line("logfmt", in_journal=True).startswith("<4>level=warning msg=")


def test_a_thread_that_breaks_is_one_line() -> None:
    program = (
        "import threading\n"
        "from glowplug.agent import logs\n"
        "logs.set_up('json')\n"
        "threading.Thread(target=lambda: {}['no such key'], name='prefetch').start()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.path.dirname(glowplug.__path__[0])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    (line,) = done.stderr.splitlines()
    said = json.loads(line)
    assert (said["level"], said["msg"]) == ("error", "prefetch has ended")
    assert "KeyError: 'no such key'" in said["trace"]
