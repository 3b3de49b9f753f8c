"""Each record reaches all of them: the log, the judgement of the checkpoint, and the reporters."""

import json
import logging
import os
import subprocess
import sys

import pytest
from tests.cli_made import Node

import glowplug
from glowplug.agent import ingest, logs
from glowplug.capture.request import Request, Result
from glowplug.errors import CacheError, CriuError, UsageError
from glowplug.outcomes import capture_outcome
from glowplug.outcomes.history import History
from glowplug.outcomes.record import Record


@pytest.fixture
def node(tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Node:
    return Node(str(tmp_path), monkeypatch, capsys)


def listening(node: Node) -> tuple[History, list[Record]]:
    os.makedirs(node.cache, exist_ok=True)
    history = History(node.cache)
    reported: list[Record] = []
    history.reporters.append(reported.append)
    return history, reported


def test_each_record_is_reported_once_to_all(node: Node) -> None:
    history, reported = listening(node)
    node.started(1.0, "cold:no-checkpoint")
    answer = ingest.answer(node.store, history, {"op": "history"})
    assert [record["outcome"] for record in reported] == ["cold:no-checkpoint"]
    assert answer == {"records": reported}
    ingest.take_in(node.store, history)
    assert len(reported) == 1


def test_what_happened_without_an_agent_is_known_by_the_next(node: Node) -> None:
    node.started(1.0, "cold:no-agent")
    history, reported = listening(node)
    ingest.take_in(node.store, history)
    assert [record["outcome"] for record in reported] == ["cold:no-agent"]


def test_a_checkpoint_at_fault_is_quarantined_and_that_is_reported(node: Node) -> None:
    checkpoint = node.published()
    history, reported = listening(node)
    node.started(1.0, "fallback:check", checkpoint=checkpoint, detail="images/core-1.img has another digest")
    ingest.take_in(node.store, history)
    assert node.store.state(checkpoint).quarantine is not None
    assert [(record.get("event"), record.get("stage")) for record in reported] == [
        (None, None),
        ("quarantine", "check"),
    ]


def test_three_early_exits_are_reported_as_one_quarantine(node: Node) -> None:
    checkpoint = node.published()
    history, reported = listening(node)
    for number in range(4):
        node.spooled(f"{number}.0-1", {"event": "exit", "checkpoint": checkpoint, "ran_s": 0.5})
    ingest.take_in(node.store, history)
    assert [record["stage"] for record in reported if record["event"] == "quarantine"] == ["early-exit"]


def test_garbage_costs_no_other_record(node: Node) -> None:
    history, reported = listening(node)
    node.spooled("1.0-1", {"outcome": 7, "checkpoint": ["x"], "phases": [], "total_s": "x", "event": {}})
    node.spooled("1.1-1", {"event": "exit", "checkpoint": "../../etc", "ran_s": True})
    node.started(2.0, "restored")
    ingest.take_in(node.store, history)
    assert reported[-1]["outcome"] == "restored"


def test_a_capture_is_reported_whatever_its_result(node: Node) -> None:
    history, reported = listening(node)
    assert capture_outcome.captured(Result("ab" * 16, "models", "web", "main", pause_s=0.4, bytes=7), "agent")
    assert capture_outcome.not_captured(Request("models", "web"), UsageError("no space"), "agent")
    assert capture_outcome.not_captured(Request("models", "web"), CriuError("broke"), "command")
    assert capture_outcome.not_needed("models", "web", "main", "the node captures nothing")
    ingest.take_in(node.store, history)
    assert [(record["result"], record["by"]) for record in reported] == [
        ("captured", "agent"),
        ("refused", "agent"),
        ("failed", "command"),
        ("not-needed", "agent"),
    ]
    assert node.run("history").out == f"no start is on record in {node.store.root}\n"  # a capture is no start


# -- the log --


def line(form: str, *, in_journal: bool = False) -> str:
    record = logging.LogRecord("glowplug", logging.WARNING, "", 0, "quarantined%s", ("",), None)
    record.created = 1772373731.25
    record.__dict__.update(
        logs.fields({"pod": "we b", "detail": 'a "b"\n\x1b[31mc', "empty": "", "none": None, "n": 3})
    )
    return logs.Lines(form, in_journal=in_journal).format(record)


def test_a_line_as_logfmt() -> None:
    assert line("logfmt") == (
        "time=2026-03-01T14:02:11.250Z level=warning"
        r' msg=quarantined pod="we b" detail="a \"b\"\n\u001b[31mc" n=3'
    )


def test_logfmt_has_a_field_for_each_phase() -> None:
    record = logging.LogRecord("glowplug", logging.INFO, "", 0, "start", None, None)
    record.__dict__.update(logs.fields({"phases": {"criu": 0.25, "memory": 1}, "odd": {"a b": 1}}))
    line = logs.Lines("logfmt", in_journal=True).format(record)
    assert line == r'<6>level=info msg=start phases.criu=0.25 phases.memory=1 odd="{\"a b\": 1}"'


def test_a_line_as_json() -> None:
    assert line("json") == (
        '{"time": "2026-03-01T14:02:11.250Z", "level": "warning", "msg": "quarantined", "pod": "we b", '
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


# -- a checkpoint that does not prove itself --


def lived(node: Node, number: int, ran_s: float, checkpoint: str, *, stopped: bool = False) -> None:
    """A restored container that ran for so long, and that its pod then started again."""
    sandbox = f"s{number}"
    names = {"sandbox_id": sandbox, "container": "main", "container_id": f"c{number}"}
    at = 1000.0 * number
    node.spooled(f"{at}-1", {"time": at, "outcome": "restored", "checkpoint": checkpoint, **names})
    end = {"event": "exit", "checkpoint": checkpoint, "ran_s": ran_s, "stopped": stopped}
    node.spooled(f"{at}-2", {"time": at + ran_s, "container_id": f"c{number}", **end})
    node.spooled(f"{at}-3", {"time": at + ran_s + 1, "outcome": "cold:container-restart", **names})


def test_restarts_soon_after_a_restore_count_against_the_checkpoint(node: Node) -> None:
    """Killed by a liveness probe after 45 s, three times: what hangs would serve every new pod without an end."""
    checkpoint = node.published()
    history, reported = listening(node)
    for number in range(1, 4):
        lived(node, number, 45.0, checkpoint, stopped=True)
    ingest.take_in(node.store, history)
    assert [record["stage"] for record in reported if record.get("event") == "quarantine"] == ["early-exit"]


def test_one_early_end_and_its_restart_count_once(node: Node) -> None:
    checkpoint = node.published()
    history, _ = listening(node)
    lived(node, 1, 2.0, checkpoint)
    ingest.take_in(node.store, history)
    assert node.store.state(checkpoint).early_exits == 1


def test_one_that_ran_for_long_has_proved_it(node: Node) -> None:
    checkpoint = node.published()
    history, _ = listening(node)
    lived(node, 1, 45.0, checkpoint)
    lived(node, 2, 700.0, checkpoint)
    ingest.take_in(node.store, history)
    assert node.store.state(checkpoint).early_exits == 0


def test_a_judgement_that_can_not_be_written_is_made_later(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = node.published()
    history, reported = listening(node)
    store = node.store
    quarantine = store.quarantine

    def full(*_: object) -> None:
        raise CacheError("No space left on device")

    monkeypatch.setattr(store, "quarantine", full)
    node.started(1.0, "fallback:check", checkpoint=checkpoint, detail="damaged")
    ingest.take_in(store, history)
    assert store.state(checkpoint).quarantine is None
    monkeypatch.setattr(store, "quarantine", quarantine)
    node.started(2.0, "cold:no-checkpoint")
    ingest.take_in(store, history)
    assert store.state(checkpoint).quarantine is not None
    assert [record["stage"] for record in reported if record.get("event") == "quarantine"] == ["check"]
