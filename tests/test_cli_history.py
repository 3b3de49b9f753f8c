"""Commands over the history: history, status, and explain for a container that has started."""

import json
import os
import socket
import time

import pytest
from rich.console import Console
from tests.cli_made import Node

from glowplug.cli import history, screen
from glowplug.restore import attempt
from glowplug.restore.journal import Journal

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the history is root's")


@pytest.fixture
def node(tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Node:
    return Node(str(tmp_path), monkeypatch, capsys)


PHASES = {"criu": 0.2, "check": 0.01, "resolve": 0.004}  # not in the order in which they are run


def test_journal_and_spool_are_one_history_without_an_agent(node: Node) -> None:
    node.started(2.0, "restored", checkpoint="ab" * 16, phases=PHASES)
    node.started(3.0, "cold:env", container_id="d1" * 32, namespace="jobs", pod="batch")
    journal = {
        "time": 1.0,
        "container_id": "e2" * 32,
        "namespace": "models",
        "pod": "old",
        "container": "main",
    }
    os.makedirs(node.cache)
    with open(f"{node.cache}/history.jsonl", "w") as file:
        file.write(json.dumps({**journal, "outcome": "cold:no-agent"}) + "\n" + '{"time": 9, "cut of')
    outcomes = [one["outcome"] for one in json.loads(node.run("history", "--json").out)]
    assert outcomes == ["cold:no-agent", "restored", "cold:env"]
    assert [line.split()[2] for line in node.run("history").out.splitlines()[1:]] == [
        "models/old/main",
        "models/web/main",
        "jobs/batch/main",
    ]
    assert len(node.run("history", "--limit", "1").out.splitlines()) == 2
    assert len(node.run("history", "-n", "models", "web").out.splitlines()) == 2
    assert node.run("history", "nobody").out.count("\n") == 1


def test_a_record_that_is_being_taken_in_counts_once(node: Node) -> None:
    node.started(2.0, "restored")
    with open(f"{node.directory}/run/outcomes/2.000000-1.json") as file:
        record = file.read()
    os.makedirs(node.cache)
    with open(f"{node.cache}/history.jsonl", "w") as file:
        file.write(json.dumps(json.loads(record)) + "\n")
    assert len(json.loads(node.run("history", "--json").out)) == 1


def test_what_a_killed_runtime_could_not_say_comes_from_the_container_s_other_records(node: Node) -> None:
    node.spooled(
        "1.0-1", {"time": 1.0, "container_id": "c0" * 32, "outcome": "fallback:killed", "detail": "x"}
    )
    node.started(2.0, "cold:container-restart")
    node.spooled("3.0-1", {"time": 3.0, "container_id": "c0" * 32, "event": "exit", "ran_s": 4.0})
    found = json.loads(node.run("history", "--json", "web").out)
    assert [one["outcome"] for one in found] == ["fallback:killed", "cold:container-restart"]
    assert found[1]["ran_s"] == 4.0
    assert "ran 4.00 s" in node.run("history", "--detail").out


def test_the_result_of_the_hook_after_the_restore_is_shown(node: Node) -> None:
    node.started(2.0, "restored")
    said = {"time": 3.0, "container_id": "c0" * 32, "event": "after-restore"}
    node.spooled("3.0-1", {**said, "result": "failed", "detail": "http-post: no"})
    node.started(4.0, "restored", container_id="d1" * 32)
    node.spooled("5.0-1", {**said, "time": 5.0, "container_id": "d1" * 32, "result": "done"})
    assert [one["hook"] for one in json.loads(node.run("history", "--json").out)] == [
        "failed: http-post: no",
        "done",
    ]
    assert "    after-restore failed: http-post: no\n" in node.run("history", "--detail").out
    assert "after-restore done" in node.run("timeline", "d1").out


def test_what_a_cold_start_got_and_what_was_kept_is_shown(node: Node) -> None:
    applied = {"files": 4, "bytes": 2_500_000, "seconds": 0.0312, "detail": "not all of it"}
    node.started(2.0, "cold:no-checkpoint", compile_cache=applied)
    said = {"time": 3.0, "container_id": "c0" * 32, "event": "compile-cache"}
    node.spooled("3.0-1", {**said, "result": "kept", "files": 5, "bytes": 3_000_000})
    node.started(4.0, "cold:no-checkpoint", container_id="d1" * 32)
    node.spooled(
        "5.0-1", {**said, "time": 5.0, "container_id": "d1" * 32, "result": "not-kept", "detail": "no"}
    )
    shown = node.run("history", "--detail").out
    assert "    compile cache found 4 files, 2.5 MB in 0.03 s: not all of it; kept 5 files, 3.0 MB\n" in shown
    assert "    compile cache not kept: no\n" in shown


def test_records_that_are_foreign_are_left_out(node: Node) -> None:
    node.started(1.0, "restored")
    for number, content in enumerate(
        ("[]", "{", '{"outcome": 7}', '{"time": "x", "outcome": "cold:x", "phases": 3}')
    ):
        with open(f"{node.directory}/run/outcomes/9-{number}.json", "w") as file:
            file.write(content)
    ran = node.run("history", "--json")
    assert ran.status == 0
    assert [one["outcome"] for one in json.loads(ran.out)][-1] == "restored"


def test_a_narrow_terminal_loses_no_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It wraps lines that are too long; a column without width would be gone."""
    for width in (60, 30, 5):
        monkeypatch.setattr(
            screen,
            "console",
            lambda width=width: Console(width=width, force_terminal=True, color_system=None),
        )
        row = ("11-22 02:16:56", "a/web/main", "cold:no-checkpoint", "20 ms", "1b8107e2ba9e")
        screen.table(history.COLUMNS, [row], right=("took",), fold=("pod/container",))
        shown = capsys.readouterr().out
        assert all(cell in shown for cell in row)


# -- explain --


def test_a_start_is_explained_while_agent_and_containerd_are_down(node: Node) -> None:
    node.started(1.0, "restored", checkpoint="ab" * 16, phases=PHASES)
    node.started(
        2.0, "fallback:criu", container_id="d1" * 32, detail="Error (criu/x.c:7): broke", phases=PHASES
    )
    ran = node.run("explain", "-n", "models", "web")
    assert (ran.status, ran.err) == (0, "")
    assert "fallback:criu" in ran.out
    assert "Error (criu/x.c:7): broke" in ran.out
    assert "verdict now: none: containerd can't be reached" in ran.out
    lines = [line.split()[0] for line in ran.out.splitlines() if line.split()]
    assert [lines.index(phase) for phase in ("resolve", "check", "criu")] == sorted(
        lines.index(phase) for phase in PHASES
    )
    found = json.loads(node.run("explain", "-n", "models", "--json", "web").out)["containers"]
    assert (found[0]["start"]["outcome"], found[0]["earlier_starts"]) == ("fallback:criu", 1)
    assert found[0]["start"]["phases"] == PHASES
    assert found[0]["verdict"] is None


def test_a_pod_that_nobody_knows_is_one_clear_line(node: Node) -> None:
    node.started(1.0, "restored")
    ran = node.run("explain", "-n", "models", "other")
    assert (ran.status, ran.out) == (1, "")
    assert "containerd can't be reached" in ran.err
    assert ran.err.count("\n") == 1


def test_explain_wants_a_pod_or_a_spec(node: Node) -> None:
    for arguments in ([], ["web", "--spec", "x"]):
        ran = node.run("explain", *arguments)
        assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)


# -- status --


def test_status_names_each_error_and_fails(node: Node) -> None:
    node.published()
    ran = node.run("status")
    assert ran.status == 1
    assert [line.split(":")[0] for line in ran.out.splitlines()].count("error") == 4
    for reported in (
        "so every start is cold",
        "containerd can't be reached",
        "CRIU is not installed",
        "no-runc",
    ):
        assert reported in ran.out
    found = json.loads(node.run("status", "--json").out)
    assert (found["checkpoints"], found["agent"], found["criu"]) == (1, "no-agent", None)


def test_captures_are_shown_with_their_reasons(node: Node) -> None:
    common = {"event": "capture", "namespace": "models", "container": "main", "by": "agent"}
    node.spooled(
        "1.0-1",
        {**common, "time": 1.0, "pod": "web", "result": "captured", "checkpoint": "ab" * 16, "pause_s": 0.3},
    )
    node.spooled("2.0-1", {**common, "time": 2.0, "pod": "other", "result": "refused", "detail": "no ready"})
    shown = node.run("history", "--captures").out.splitlines()
    assert ["models/web/main" in shown[0], "captured" in shown[0], "abab" in shown[0]] == [True] * 3
    assert "models/other/main  refused  by the agent" in shown[1]
    assert shown[2].strip() == "no ready"
    assert len(json.loads(node.run("history", "--captures", "--json", "web").out)) == 1
    assert node.run("history").out.count("\n") == 1


def test_status_counts_the_last_day_and_what_is_under_way(node: Node) -> None:
    now = time.time()
    node.started(now - 90_000, "restored")
    node.started(now - 50, "restored", container_id="d1" * 32)
    node.started(now - 20, "cold:no-checkpoint", container_id="e2" * 32)
    node.spooled("9.0-1", {"time": now - 10, "event": "capture", "result": "refused"})
    trial = attempt.begin(Journal("f3" * 32))
    found = json.loads(node.run("status", "--json").out)
    trial.finish()
    assert found["starts"] == {"restored": 1, "cold": 1, "fallback": 0}
    assert found["captures"] == {"captured": 0, "refused": 1, "failed": 0}
    assert found["under_way"] == {"restore": 1, "capture": 0}
    assert found["metrics"] == ""


def test_status_says_that_nobody_serves_the_metrics(node: Node) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    node.configure({"metrics_listen": address})
    assert f"error: nobody serves metrics on {address}: Connection refused" in node.run("status").out
