"""What Kubernetes gets a start and a capture, and that nobody waits for it (tests/api_server.py)."""

import time
from pathlib import Path

import pytest
from tests.agent_kubernetes.made import AWAKE, COLD, RESTORED, WEB, Reported, condition, until
from tests.api_server import ApiServer

from glowplug.agent.kubernetes import cluster
from glowplug.agent.kubernetes.cluster import CAPTURED, OUTCOME
from glowplug.apiserver import node_labels
from glowplug.outcomes.record import Record


def test_a_restore_is_an_event_an_annotation_and_an_open_gate(server: ApiServer, reported: Reported) -> None:
    pod = server.pod("web", gate=CAPTURED)
    reported.report(RESTORED, AWAKE)
    until(lambda: condition(pod))
    found = condition(pod)
    assert found is not None and (found["status"], found["reason"]) == ("True", "Restored")
    assert pod["metadata"]["annotations"] == {"their": "own", OUTCOME: "main=restored"}
    assert pod["status"]["conditions"][0]["type"] == "Ready"
    event = server.events[0]
    assert (event["type"], event["reason"]) == ("Normal", "Restored")
    assert event["message"] == f"restored from checkpoint {'ab' * 16}; it took 0.80 s"
    assert event["involvedObject"]["uid"] == "uid-1"
    assert event["involvedObject"]["fieldPath"] == "spec.containers{main}"
    assert event["firstTimestamp"].startswith("2026-03-01T14:02:11")
    assert event["source"] == {"component": "glowplug", "host": "node-1"}


def test_a_cold_start_leaves_the_gate_shut_and_a_capture_opens_it(
    server: ApiServer, reported: Reported
) -> None:
    pod = server.pod("web", gate=CAPTURED)
    reported.report(COLD, {**WEB, "container": "side", "outcome": "cold:off", "detail": "off"})
    until(lambda: pod["metadata"]["annotations"].get(OUTCOME) == "main=cold:no-checkpoint,side=cold:off")
    assert condition(pod) is None
    reported.report(
        {
            **WEB,
            "event": "capture",
            "result": "captured",
            "checkpoint": "ab" * 16,
            "bytes": 7e6,
            "pause_s": 0.5,
        }
    )
    until(lambda: condition(pod))
    assert [event["reason"] for event in server.events] == ["ColdStart", "ColdStart", "Captured"]


def test_an_engine_that_was_not_woken_is_a_warning(server: ApiServer, reported: Reported) -> None:
    server.pod("web")
    reported.report(
        {**WEB, "event": "capture", "result": "captured", "detail": "after-capture: http-post: no"},
        {**WEB, "event": "after-restore", "result": "done"},
        {**WEB, "event": "after-restore", "result": "failed", "detail": "exec: no"},
    )
    until(lambda: len(server.events) == 3)
    assert [(event["type"], event["reason"], event["message"]) for event in server.events[1:]] == [
        ("Warning", "AfterCaptureFailed", "after-capture: http-post: no"),
        ("Warning", "AfterRestoreFailed", "exec: no"),
    ]


@pytest.mark.parametrize(
    ("result", "reason", "events"),
    [
        ("refused", "CaptureRefused", ["CaptureRefused"]),
        ("failed", "CaptureFailed", ["CaptureFailed"]),
        ("not-needed", "CaptureNotNeeded", []),
    ],
)
def test_a_gate_opens_also_where_nothing_is_captured(
    server: ApiServer, reported: Reported, result: str, reason: str, events: list[str]
) -> None:
    pod = server.pod("web", gate=CAPTURED)
    reported.report({**WEB, "event": "capture", "result": result, "detail": "why"})
    until(lambda: condition(pod))
    found = condition(pod)
    assert found is not None and (found["reason"], found["message"]) == (reason, "why")
    assert [event["reason"] for event in server.events] == events


def test_a_failed_restore_is_a_warning_that_fits(server: ApiServer, reported: Reported) -> None:
    server.pod("web")
    reported.report({**WEB, "outcome": "fallback:criu", "detail": "x" * 5000})
    until(lambda: server.events)
    assert (server.events[0]["type"], server.events[0]["reason"]) == ("Warning", "RestoreFailed")
    assert len(server.events[0]["message"]) == 1000


def test_a_container_that_starts_again_and_again_is_one_event(server: ApiServer, reported: Reported) -> None:
    server.pod("web")
    reported.report(*[COLD] * 20)
    until(lambda: reported.counted.count("written") >= 20)
    assert len(server.events) == 1


def test_another_pod_of_the_same_name_is_left_alone(server: ApiServer, reported: Reported) -> None:
    pod = server.pod("web", gate=CAPTURED, uid="uid-2")
    reported.report(RESTORED, AWAKE)
    until(lambda: reported.counted.count("failed") == 2)
    assert condition(pod) is None
    assert OUTCOME not in pod["metadata"]["annotations"]


def test_a_pod_that_is_gone_and_a_record_without_one_are_no_error(
    server: ApiServer, reported: Reported
) -> None:
    reported.report(
        RESTORED, AWAKE, {"outcome": "restored"}, {"event": "exit", "ran_s": 3}, {**WEB, "outcome": "what"}
    )
    until(lambda: len(reported.counted) == 3)
    assert sorted(reported.counted) == ["failed", "failed", "written"]


def test_the_node_s_labels_follow(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ROUND_EVERY_S", 0.05)
    labels = server.nodes["node-1"]["metadata"]["labels"]
    labels.update({"kubernetes.io/hostname": "node-1", "workload.glowplug.dev/old": "true"})
    made = Reported(server, tmp_path, [])
    made.cluster.start()
    until(lambda: labels == {"kubernetes.io/hostname": "node-1", node_labels.READY: "true"})
    warm = node_labels.workload("models", "llama:1")
    made.labels[warm] = "true"
    until(lambda: warm in labels)
    before = len(server.requests)
    time.sleep(0.2)
    assert len(server.requests) == before  # nothing changes, and it is soon for a look at what others did
    made.cluster.stop()
    assert labels[node_labels.READY] == "true"  # an agent that stops takes no handler away


def test_labels_that_others_took_off_come_back(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the Node was deleted and the kubelet made it again: pods whose class selects by them are Pending."""
    monkeypatch.setattr(cluster, "ROUND_EVERY_S", 0.05)
    monkeypatch.setattr(cluster, "LABELS_EVERY_S", 0.05)
    labels = server.nodes["node-1"]["metadata"]["labels"]
    made = Reported(server, tmp_path, [])
    made.labels[node_labels.HANDLER] = "true"
    made.cluster.start()
    until(lambda: labels == made.labels)
    labels.clear()
    until(lambda: labels == made.labels)
    labels[node_labels.HANDLER] = "false"
    until(lambda: labels == made.labels)
    made.cluster.stop()


def test_a_gate_that_an_agent_before_left_shut_is_opened(server: ApiServer, tmp_path: Path) -> None:
    pods = [server.pod(name, gate=CAPTURED, uid=f"uid-{name}") for name in ("a", "b", "c")]
    records: list[Record] = [
        {**AWAKE, "pod": "a", "pod_uid": "uid-a"},
        {**WEB, "pod": "b", "pod_uid": "of-another", "event": "capture", "result": "captured"},
        {**COLD, "pod": "c", "pod_uid": "uid-c"},
    ]
    made = Reported(server, tmp_path, records)
    made.cluster.start()
    until(lambda: condition(pods[0]))
    made.cluster.stop()
    assert [condition(pod) is not None for pod in pods] == [True, False, False]


def test_a_node_that_is_not_known_keeps_no_gate_shut(server: ApiServer, tmp_path: Path) -> None:
    pod = server.pod("a", gate=CAPTURED)
    server.nodes.clear()
    made = Reported(server, tmp_path, [{**AWAKE, "pod": "a"}])
    made.cluster.start()
    until(lambda: condition(pod))
    made.cluster.stop()


def test_an_outcome_of_another_kind_is_left_out(server: ApiServer, reported: Reported) -> None:
    reported.report({**WEB, "outcome": "captured"}, {**WEB, "outcome": "refused:x"})
    until(lambda: server.nodes["node-1"]["metadata"]["labels"])
    assert reported.counted == []
