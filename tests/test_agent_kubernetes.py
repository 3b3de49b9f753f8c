"""What Kubernetes is told of a start and a capture, and that nobody waits for it (tests/api_server.py)."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests import api_server
from tests.api_server import ApiServer

from glowplug import paths
from glowplug.agent.kubernetes import cluster
from glowplug.agent.kubernetes import writer as writers
from glowplug.agent.kubernetes.cluster import CAPTURED, OUTCOME, Cluster
from glowplug.agent.kubernetes.writer import Write, Writer
from glowplug.apiserver import node_labels, this_node
from glowplug.apiserver.client import Api, Pod, Unreachable
from glowplug.capture import namespaces
from glowplug.errors import KubernetesError, UsageError
from glowplug.outcomes.record import Record

WEB = {"namespace": "models", "pod": "web", "pod_uid": "uid-1", "container": "main"}
RESTORED = {**WEB, "time": 1772373731.0, "outcome": "restored", "checkpoint": "ab" * 16, "total_s": 0.8}
ROUNDS_END = "GET /api/v1/pods"
"""The last thing that is asked before anything is written."""

AWAKE = {**WEB, "event": "after-restore", "result": "none"}

COLD = {**WEB, "outcome": "cold:no-checkpoint", "detail": "no checkpoint of this workload"}


@pytest.fixture(autouse=True)
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server.serving() as found:
        yield found


class Told:
    """A Cluster that speaks to the server, and the history behind it."""

    def __init__(self, server: ApiServer, directory: Path, records: list[Record]) -> None:
        self.records = records
        self.counted: list[str] = []
        self.labels = {node_labels.READY: "true"}
        config = server.kubeconfig(str(directory / "kubeconfig"))
        self.cluster = Cluster(
            config, "node-1", lambda: dict(self.labels), lambda: self.records, self.counted.append
        )

    def tell(self, *records: Record) -> None:
        for record in records:
            self.records.append(record)
            self.cluster.tell(record)


@pytest.fixture
def told(server: ApiServer, tmp_path: Path) -> Iterator[Told]:
    made = Told(server, tmp_path, [])
    made.cluster.start()
    yield made
    made.cluster.stop()


def until(holds: Callable[[], object], what: str = "") -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def condition(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((one for one in pod["status"]["conditions"] if one["type"] == CAPTURED), None)


def test_a_restore_is_an_event_an_annotation_and_an_open_gate(server: ApiServer, told: Told) -> None:
    pod = server.pod("web", gate=CAPTURED)
    told.tell(RESTORED, AWAKE)
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


def test_a_cold_start_leaves_the_gate_shut_and_a_capture_opens_it(server: ApiServer, told: Told) -> None:
    pod = server.pod("web", gate=CAPTURED)
    told.tell(COLD, {**WEB, "container": "side", "outcome": "cold:off", "detail": "off"})
    until(lambda: pod["metadata"]["annotations"].get(OUTCOME) == "main=cold:no-checkpoint,side=cold:off")
    assert condition(pod) is None
    told.tell(
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


def test_an_engine_that_was_not_woken_is_a_warning(server: ApiServer, told: Told) -> None:
    server.pod("web")
    told.tell(
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
    server: ApiServer, told: Told, result: str, reason: str, events: list[str]
) -> None:
    pod = server.pod("web", gate=CAPTURED)
    told.tell({**WEB, "event": "capture", "result": result, "detail": "why"})
    until(lambda: condition(pod))
    found = condition(pod)
    assert found is not None and (found["reason"], found["message"]) == (reason, "why")
    assert [event["reason"] for event in server.events] == events


def test_a_failed_restore_is_a_warning_that_fits(server: ApiServer, told: Told) -> None:
    server.pod("web")
    told.tell({**WEB, "outcome": "fallback:criu", "detail": "x" * 5000})
    until(lambda: server.events)
    assert (server.events[0]["type"], server.events[0]["reason"]) == ("Warning", "RestoreFailed")
    assert len(server.events[0]["message"]) == 1000


def test_a_container_that_starts_again_and_again_is_one_event(server: ApiServer, told: Told) -> None:
    server.pod("web")
    told.tell(*[COLD] * 20)
    until(lambda: told.counted.count("written") >= 20)
    assert len(server.events) == 1


def test_another_pod_of_the_same_name_is_left_alone(server: ApiServer, told: Told) -> None:
    pod = server.pod("web", gate=CAPTURED, uid="uid-2")
    told.tell(RESTORED, AWAKE)
    until(lambda: told.counted.count("failed") == 2)
    assert condition(pod) is None
    assert OUTCOME not in pod["metadata"]["annotations"]


def test_a_pod_that_is_gone_and_a_record_without_one_are_no_trouble(server: ApiServer, told: Told) -> None:
    told.tell(RESTORED, AWAKE, {"outcome": "restored"}, {"event": "exit", "ran_s": 3}, {**WEB, "outcome": "what"})
    until(lambda: len(told.counted) == 3)
    assert sorted(told.counted) == ["failed", "failed", "written"]


def test_the_node_s_labels_follow(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ROUND_EVERY_S", 0.05)
    labels = server.nodes["node-1"]["metadata"]["labels"]
    labels.update({"kubernetes.io/hostname": "node-1", "workload.glowplug.dev/old": "true"})
    made = Told(server, tmp_path, [])
    made.cluster.start()
    until(lambda: labels == {"kubernetes.io/hostname": "node-1", node_labels.READY: "true"})
    warm = node_labels.workload("models", "llama:1")
    made.labels[warm] = "true"
    until(lambda: warm in labels)
    asked = len(server.requests)
    time.sleep(0.2)
    assert len(server.requests) == asked  # nothing changes, nothing is asked
    made.cluster.stop()
    assert labels[node_labels.READY] == "true"  # an agent that stops takes no handler away


def test_a_gate_that_an_agent_before_left_shut_is_opened(server: ApiServer, tmp_path: Path) -> None:
    pods = [server.pod(name, gate=CAPTURED, uid=f"uid-{name}") for name in ("a", "b", "c")]
    records: list[Record] = [
        {**AWAKE, "pod": "a", "pod_uid": "uid-a"},
        {**WEB, "pod": "b", "pod_uid": "of-another", "event": "capture", "result": "captured"},
        {**COLD, "pod": "c", "pod_uid": "uid-c"},
    ]
    made = Told(server, tmp_path, records)
    made.cluster.start()
    until(lambda: condition(pods[0]))
    made.cluster.stop()
    assert [condition(pod) is not None for pod in pods] == [True, False, False]


def test_a_node_that_is_not_known_keeps_no_gate_shut(server: ApiServer, tmp_path: Path) -> None:
    pod = server.pod("a", gate=CAPTURED)
    server.nodes.clear()
    made = Told(server, tmp_path, [{**AWAKE, "pod": "a"}])
    made.cluster.start()
    until(lambda: condition(pod))
    made.cluster.stop()


def test_an_outcome_of_another_kind_is_left_out(server: ApiServer, told: Told) -> None:
    told.tell({**WEB, "outcome": "captured"}, {**WEB, "outcome": "refused:x"})
    until(lambda: server.nodes["node-1"]["metadata"]["labels"])
    assert told.counted == []


# -- an API server that is away --


def test_what_can_t_be_written_is_written_later(
    server: ApiServer, told: Told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writers, "FIRST_WAIT_S", 0.05)
    until(lambda: ROUNDS_END in server.requests)
    pod = server.pod("web", gate=CAPTURED)
    server.fails = 503
    told.tell(RESTORED, AWAKE)
    until(lambda: len([one for one in server.requests if one.startswith("POST")]) >= 2)
    server.fails = 0
    until(lambda: told.counted == ["written"] * 3)
    assert condition(pod) and len(server.events) == 1
    said = [one.message for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(said) == len(set(said))
    assert said[0] == "create_namespaced_event: the API server answered 503: as told"


def test_what_one_object_alone_meets_holds_up_nobody(
    server: ApiServer, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A webhook of its namespace that is down, say. It is given up after so many tries, and not for ever."""
    monkeypatch.setattr(writers, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(writers, "LONGEST_WAIT_S", 0.02)
    monkeypatch.setattr(writers, "TRIES", 5)
    until(lambda: ROUNDS_END in server.requests)
    pod = server.pod("web", gate=CAPTURED)
    server.fails_for = "/namespaces/theirs/"
    told.tell(*({**one, "namespace": where} for where in ("theirs", "models") for one in (RESTORED, AWAKE)))
    until(lambda: condition(pod))
    until(lambda: told.counted.count("failed") == 3)
    assert told.counted.count("written") == 3
    assert sum(server.fails_for in one for one in server.requests) == 3 * 5


def test_a_round_that_is_refused_is_not_repeated_for_each_write(
    server: ApiServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.nodes.clear()
    server.pod("web")
    made = Told(server, tmp_path, [])
    made.cluster.start()
    for number in range(5):
        made.tell({**RESTORED, "checkpoint": f"{number:032}"}, AWAKE)
        until(lambda number=number: made.counted.count("written") == 3 * (number + 1))  # type: ignore[misc]
    made.cluster.stop()
    assert sum(one == "GET /api/v1/nodes/node-1" for one in server.requests) == 1
    assert caplog.text.count("read_node") == 1


def test_no_rights_are_said_once_and_cost_nothing_else(
    server: ApiServer, told: Told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    until(lambda: ROUNDS_END in server.requests)
    server.fails = 403
    told.tell(RESTORED, AWAKE)
    until(lambda: told.counted.count("failed") == 3)
    assert "the-agent-s-own-token" not in caplog.text


def test_a_right_that_is_not_given_is_not_asked_for_at_every_start(server: ApiServer, told: Told) -> None:
    """With a kubelet's own rights no pod can be annotated; all else is written."""
    until(lambda: ROUNDS_END in server.requests)
    server.pod("web", gate=CAPTURED)
    server.forbids = "PATCH /api/v1/namespaces/models/pods/web"
    for number in range(5):
        told.tell({**RESTORED, "checkpoint": f"{number:032}"}, AWAKE)
        until(lambda number=number: len(server.events) == number + 1)  # type: ignore[misc]
        until(lambda number=number: told.counted.count("written") == 2 * (number + 1))  # type: ignore[misc]
    assert server.requests.count(server.forbids) == 1


def test_telling_never_waits(tmp_path: Path) -> None:
    """Nobody listens on the address: each of 2,000 records costs the teller's caller microseconds."""
    server = ApiServer()
    server.server_close()
    made = Told(server, tmp_path, [])
    made.cluster.start()
    done = threading.Event()

    def tell() -> None:
        for number in range(2000):
            made.tell({**RESTORED, "pod": f"web-{number}"}, {**AWAKE, "pod": f"web-{number}"})
        done.set()

    threading.Thread(target=tell, daemon=True).start()
    assert done.wait(20)
    until(lambda: made.counted.count("dropped") >= 6000 - writers.LONGEST)
    made.cluster.stop()


def test_a_client_that_is_not_there_or_has_no_way_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="wanted access to the API server"):
        Api(str(tmp_path / "none"))
    for rubbish in ("{", "[]", "7", "", "clusters: 3", "current-context: x\ncontexts: [3]"):
        (tmp_path / "rubbish").write_text(rubbish)
        with pytest.raises(UsageError, match="wanted a"):
            Api(str(tmp_path / "rubbish"))


def test_a_kubeconfig_that_comes_later_is_found(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writers, "FIRST_WAIT_S", 0.05)
    pod = server.pod("web")
    made = Told(server, tmp_path, [])
    os.rename(tmp_path / "kubeconfig", tmp_path / "later")
    made.cluster.start()
    made.tell(RESTORED, AWAKE)
    until(lambda: "wanted access to the API server" in caplog.text)
    os.rename(tmp_path / "later", tmp_path / "kubeconfig")
    until(lambda: condition(pod))
    made.cluster.stop()


def test_a_token_that_was_renewed_is_read_again(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "FIRST_WAIT_S", 0.05)
    made = Told(server, tmp_path, [])
    server.fails = 401
    made.cluster.start()
    made.tell(RESTORED)
    until(lambda: server.requests)
    with api_server.serving() as believes:
        believes.kubeconfig(str(tmp_path / "new"))
        os.rename(tmp_path / "new", tmp_path / "kubeconfig")
        until(lambda: believes.events)
        made.cluster.stop()


def test_an_answer_that_is_none_is_an_error_of_ours(server: ApiServer, tmp_path: Path) -> None:
    api = Api(server.kubeconfig(str(tmp_path / "kubeconfig")))
    server.pods["x", "y"] = {"metadata": None, "spec": {"readinessGates": [{"conditionType": CAPTURED}]}}
    with pytest.raises(KubernetesError, match="wanted a list of pods"):
        api.waiting("node-1", CAPTURED)
    with pytest.raises(KubernetesError, match="answered 404: no, 404"):
        api.annotate(Pod("models", "gone"), {})


# -- the queue --


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


# -- the node's labels --


def test_labels_are_bounded_and_fit() -> None:
    held = [("models", f"image-{number}") for number in range(500)] * 2
    labels = node_labels.wanted(True, "580.159.04", held)
    assert len(labels) == node_labels.LONGEST + 3
    assert node_labels.workload("models", "image-0") in labels
    assert node_labels.workload("models", "image-499") not in labels
    for name, value in labels.items():
        prefix, _, rest = name.partition("/")
        assert len(prefix) < 253 and 0 < len(rest) <= 63 and len(value) <= 63
        assert "models" not in name and "image" not in name


def test_a_node_without_a_driver_has_no_label_of_one() -> None:
    assert node_labels.wanted(False, "", []) == {node_labels.READY: "false"}


def test_the_hash_is_the_one_that_the_docs_say() -> None:
    """`printf models/llama:1 | sha256sum | cut -c-16`."""
    assert node_labels.workload("models", "llama:1") == "workload.glowplug.dev/d8fc08c1f1c7641b"


def test_only_our_labels_are_removed() -> None:
    there = {"workload.glowplug.dev/old": "true", "glowplug.dev/install": "true", "other/x": "y"}
    assert node_labels.changes(there, {node_labels.READY: "true"}) == {
        "workload.glowplug.dev/old": None,
        node_labels.READY: "true",
    }


def test_what_is_not_known_changes_no_label() -> None:
    there = {node_labels.READY: "true", node_labels.HANDLER: "true", node_labels.DRIVER: "580"}
    assert node_labels.changes(there, node_labels.wanted(None, "580", [])) == {}


def test_a_handler_that_is_gone_keeps_the_label_that_pods_are_selected_by() -> None:
    there = {node_labels.READY: "true", node_labels.HANDLER: "true"}
    assert node_labels.changes(there, node_labels.wanted(False, None, [])) == {node_labels.READY: "false"}


def test_an_uninstall_takes_all_of_ours_off() -> None:
    there = ["glowplug.dev/handler", "glowplug.dev/ready", "glowplug.dev/driver", "glowplug.dev/install", "x"]
    there.append("workload.glowplug.dev/d8fc08c1f1c7641b")
    assert set(node_labels.removal(there)) == {*there[:3], there[-1]}


def test_a_repair_is_an_event_on_the_node(server: ApiServer, told: Told) -> None:
    for _ in range(3):
        told.cluster.tell_node("Normal", "HandlerRepaired", "the handler glowplug was gone")
    until(lambda: server.events)
    event = server.events[0]
    assert (event["reason"], event["involvedObject"]["kind"]) == ("HandlerRepaired", "Node")
    assert event["involvedObject"]["name"] == event["involvedObject"]["uid"] == "node-1"
    assert len(server.events) == 1


def test_a_restored_engine_that_still_sleeps_keeps_the_gate_shut(server: ApiServer, told: Told) -> None:
    pod = server.pod("web", gate=CAPTURED)
    told.tell(RESTORED, {**AWAKE, "result": "failed", "detail": "no"})
    until(lambda: len(server.events) == 2)
    assert condition(pod) is None


def test_a_container_that_nobody_captures_has_no_event_of_its_cold_start(
    server: ApiServer, told: Told
) -> None:
    server.pod("web")
    told.tell({**COLD, "container": "side", "chosen": False}, COLD)
    until(lambda: server.events)
    assert [one["involvedObject"]["fieldPath"] for one in server.events] == ["spec.containers{main}"]


@pytest.mark.parametrize("result", ["done", "none"])
def test_a_restored_engine_that_is_awake_opens_the_gate(server: ApiServer, told: Told, result: str) -> None:
    pod = server.pod("web", gate=CAPTURED)
    told.tell({**WEB, "event": "after-restore", "result": result})
    until(lambda: condition(pod))


def test_the_node_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_NAME", "from-the-pod")
    assert (this_node.node_name("set"), this_node.node_name("")) == ("set", "from-the-pod")
    monkeypatch.delenv("NODE_NAME")
    assert this_node.node_name("") == os.uname().nodename.lower()


@pytest.mark.usefixtures("told")
def test_a_namespace_is_known_by_its_uid(server: ApiServer) -> None:
    """One that was deleted and made again by others has the same name."""
    until(lambda: namespaces.uid("models") == "uid-of-models")
    assert namespaces.uid("another") == ""
    assert os.stat(paths.namespaces()).st_mode & 0o777 == 0o600


def test_where_namespaces_may_not_be_listed_all_else_goes_on(server: ApiServer, tmp_path: Path) -> None:
    server.forbids = "GET /api/v1/namespaces"
    server.pod("web")
    made = Told(server, tmp_path, [])
    made.cluster.start()
    made.tell(RESTORED)
    until(lambda: server.events)
    made.cluster.stop()
    assert namespaces.uid("models") == ""
    assert server.requests.count("GET /api/v1/namespaces") == 1
