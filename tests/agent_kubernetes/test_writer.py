"""Writes to an API server that is away, slow, refuses, or was never there."""

import logging
import os
import threading
from pathlib import Path

import pytest
from tests import api_server
from tests.agent_kubernetes.made import AWAKE, RESTORED, Reported, condition, until
from tests.api_server import ApiServer

from glowplug.agent.kubernetes import writer as writers
from glowplug.agent.kubernetes.cluster import CAPTURED
from glowplug.agent.kubernetes.writer import Write, Writer
from glowplug.apiserver.client import Api, Pod, Unreachable
from glowplug.errors import KubernetesError, UsageError

ROUNDS_END = "GET /api/v1/pods"
"""The last thing that is queried before anything is written."""


def test_what_can_t_be_written_is_written_later(
    server: ApiServer, reported: Reported, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writers, "FIRST_WAIT_S", 0.05)
    until(lambda: ROUNDS_END in server.requests)
    pod = server.pod("web", gate=CAPTURED)
    server.fails = 503
    reported.report(RESTORED, AWAKE)
    until(lambda: len([one for one in server.requests if one.startswith("POST")]) >= 2)
    server.fails = 0
    until(lambda: reported.counted == ["written"] * 3)
    assert condition(pod) and len(server.events) == 1
    said = [one.message for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(said) == len(set(said))
    assert said[0] == "create_namespaced_event: the API server answered 503: as reported"


def test_what_one_object_alone_meets_holds_up_nobody(
    server: ApiServer, reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A webhook of its namespace that is down, say. It is abandoned after so many tries, and not forever."""
    monkeypatch.setattr(writers, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(writers, "LONGEST_WAIT_S", 0.02)
    monkeypatch.setattr(writers, "TRIES", 5)
    until(lambda: ROUNDS_END in server.requests)
    pod = server.pod("web", gate=CAPTURED)
    server.fails_for = "/namespaces/theirs/"
    reported.report(
        *({**one, "namespace": where} for where in ("theirs", "models") for one in (RESTORED, AWAKE))
    )
    until(lambda: condition(pod))
    until(lambda: reported.counted.count("failed") == 3)
    assert reported.counted.count("written") == 3
    assert sum(server.fails_for in one for one in server.requests) == 3 * 5


def test_a_round_that_is_refused_is_not_repeated_for_each_write(
    server: ApiServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.nodes.clear()
    server.pod("web")
    made = Reported(server, tmp_path, [])
    made.cluster.start()
    for number in range(5):
        made.report({**RESTORED, "checkpoint": f"{number:032}"}, AWAKE)
        until(lambda number=number: made.counted.count("written") == 3 * (number + 1))  # type: ignore[misc]
    made.cluster.stop()
    assert sum(one == "GET /api/v1/nodes/node-1" for one in server.requests) == 1
    assert caplog.text.count("read_node") == 1


def test_no_rights_are_said_once_and_cost_nothing_else(
    server: ApiServer, reported: Reported, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    until(lambda: ROUNDS_END in server.requests)
    server.fails = 403
    reported.report(RESTORED, AWAKE)
    until(lambda: reported.counted.count("failed") == 3)
    assert "the-agent-s-own-token" not in caplog.text


def test_a_missing_right_is_not_requested_at_every_start(server: ApiServer, reported: Reported) -> None:
    """With a kubelet's own rights no pod can be annotated; everything else is written."""
    until(lambda: ROUNDS_END in server.requests)
    server.pod("web", gate=CAPTURED)
    server.forbids = "PATCH /api/v1/namespaces/models/pods/web"
    for number in range(5):
        reported.report({**RESTORED, "checkpoint": f"{number:032}"}, AWAKE)
        until(lambda number=number: len(server.events) == number + 1)  # type: ignore[misc]
        until(lambda number=number: reported.counted.count("written") == 2 * (number + 1))  # type: ignore[misc]
    assert server.requests.count(server.forbids) == 1


def test_reporting_never_waits(tmp_path: Path) -> None:
    """Nobody listens on the address: each of 2,000 records costs the reporter's caller microseconds."""
    server = ApiServer()
    server.server_close()
    made = Reported(server, tmp_path, [])
    made.cluster.start()
    done = threading.Event()

    def report() -> None:
        for number in range(2000):
            made.report({**RESTORED, "pod": f"web-{number}"}, {**AWAKE, "pod": f"web-{number}"})
        done.set()

    threading.Thread(target=report, daemon=True).start()
    assert done.wait(60)
    until(lambda: made.counted.count("dropped") >= 6000 - writers.LONGEST)
    made.cluster.stop()


def test_a_client_that_is_not_there_or_has_no_way_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no access to the API server"):
        Api(str(tmp_path / "none"))
    for garbage in ("{", "[]", "7", "", "clusters: 3", "current-context: x\ncontexts: [3]"):
        (tmp_path / "garbage").write_text(garbage)
        with pytest.raises(UsageError, match=r"is not a kubeconfig|no access"):
            Api(str(tmp_path / "garbage"))


def test_a_kubeconfig_that_comes_later_is_found(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writers, "FIRST_WAIT_S", 0.05)
    pod = server.pod("web")
    made = Reported(server, tmp_path, [])
    os.rename(tmp_path / "kubeconfig", tmp_path / "later")
    made.cluster.start()
    made.report(RESTORED, AWAKE)
    until(lambda: "no access to the API server" in caplog.text)
    os.rename(tmp_path / "later", tmp_path / "kubeconfig")
    until(lambda: condition(pod))
    made.cluster.stop()


def test_a_token_that_was_rotated_is_read_again(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "FIRST_WAIT_S", 0.05)
    made = Reported(server, tmp_path, [])
    server.fails = 401
    made.cluster.start()
    made.report(RESTORED)
    until(lambda: server.requests)
    with api_server.serving() as believes:
        believes.kubeconfig(str(tmp_path / "new"))
        os.rename(tmp_path / "new", tmp_path / "kubeconfig")
        until(lambda: believes.events)
        made.cluster.stop()


def test_an_answer_that_is_invalid_is_our_error(server: ApiServer, tmp_path: Path) -> None:
    api = Api(server.kubeconfig(str(tmp_path / "kubeconfig")))
    server.pods["x", "y"] = {"metadata": None, "spec": {"readinessGates": [{"conditionType": CAPTURED}]}}
    with pytest.raises(KubernetesError, match="is not a list of pods"):
        api.waiting("node-1", CAPTURED)
    with pytest.raises(KubernetesError, match="answered 404: no, 404"):
        api.annotate(Pod("models", "gone"), {})


def test_what_a_pod_waits_for_is_the_last_to_be_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "LONGEST", 3)
    counted: list[str] = []
    written: list[str] = []
    writer = Writer(counted.append, (), 60)
    for name, needed in (
        ("event-1", False),
        ("gate-1", True),
        ("event-2", False),
        ("gate-2", True),
        ("gate-3", True),
    ):
        writer.put(Write(name, lambda name=name: written.append(name), needed))  # type: ignore[misc]
    writer.start()
    until(lambda: len(written) == 3)
    writer.stop(5)
    assert written == ["gate-1", "gate-2", "gate-3"]
    assert counted == ["dropped", "dropped", "written", "written", "written"]


def test_a_stop_in_an_outage_is_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise Unreachable("away")

    counted: list[str] = []
    writer = Writer(counted.append, (fail,), 60)
    writer.put(Write("event", lambda: None))
    writer.start()
    writer.stop(10)
    assert not writer.is_alive()
    assert counted == ["dropped"]
