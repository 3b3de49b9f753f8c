"""The node's labels, and what else it says of itself."""

import os
from pathlib import Path

import pytest
from tests.agent_kubernetes.made import AWAKE, COLD, RESTORED, WEB, Reported, condition, until
from tests.api_server import ApiServer

from glowplug import paths
from glowplug.agent.kubernetes.cluster import CAPTURED
from glowplug.apiserver import node_labels, this_node
from glowplug.capture import namespaces


def test_labels_are_bounded_and_fit() -> None:
    images = [("models", f"image-{number}") for number in range(500)] * 2
    labels = node_labels.wanted(True, "580.159.04", images)
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


def test_a_repair_is_an_event_on_the_node(server: ApiServer, reported: Reported) -> None:
    for _ in range(3):
        reported.cluster.report_node("Normal", "HandlerRepaired", "the handler glowplug was gone")
    until(lambda: server.events)
    event = server.events[0]
    assert (event["reason"], event["involvedObject"]["kind"]) == ("HandlerRepaired", "Node")
    assert event["involvedObject"]["name"] == event["involvedObject"]["uid"] == "node-1"
    assert len(server.events) == 1


def test_a_restored_engine_that_still_sleeps_keeps_the_gate_shut(
    server: ApiServer, reported: Reported
) -> None:
    pod = server.pod("web", gate=CAPTURED)
    reported.report(RESTORED, {**AWAKE, "result": "failed", "detail": "no"})
    until(lambda: len(server.events) == 2)
    assert condition(pod) is None


def test_a_container_that_nobody_captures_has_no_event_of_its_cold_start(
    server: ApiServer, reported: Reported
) -> None:
    server.pod("web")
    reported.report({**COLD, "container": "side", "chosen": False}, COLD)
    until(lambda: server.events)
    assert [one["involvedObject"]["fieldPath"] for one in server.events] == ["spec.containers{main}"]


@pytest.mark.parametrize("result", ["done", "none"])
def test_a_restored_engine_that_is_awake_opens_the_gate(
    server: ApiServer, reported: Reported, result: str
) -> None:
    pod = server.pod("web", gate=CAPTURED)
    reported.report({**WEB, "event": "after-restore", "result": result})
    until(lambda: condition(pod))


def test_the_node_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_NAME", "from-the-pod")
    assert (this_node.node_name("set"), this_node.node_name("")) == ("set", "from-the-pod")
    monkeypatch.delenv("NODE_NAME")
    assert this_node.node_name("") == os.uname().nodename.lower()


@pytest.mark.usefixtures("reported")
def test_a_namespace_is_known_by_its_uid(server: ApiServer) -> None:
    """One that was deleted and made again by others has the same name."""
    until(lambda: namespaces.uid("models") == "uid-of-models")
    assert namespaces.uid("another") == ""
    assert os.stat(paths.namespaces()).st_mode & 0o777 == 0o600


def test_a_namespace_that_is_newer_than_the_list_is_known_at_its_first_pod(
    server: ApiServer, reported: Reported
) -> None:
    """Its pods are restored from another node's checkpoint, which has its uid."""
    until(lambda: namespaces.uid("models") == "uid-of-models")
    server.namespaces["new"] = "uid-of-new"
    reported.cluster.saw_namespace("new")
    until(lambda: namespaces.uid("new") == "uid-of-new")
    listed = server.requests.count("GET /api/v1/namespaces")
    for name in ("new", "models", "", "unknown", "unknown"):
        reported.cluster.saw_namespace(name)
    reported.report(RESTORED)
    until(lambda: server.events)
    assert server.requests.count("GET /api/v1/namespaces") == listed, "not for each, and not at once again"


def test_where_namespaces_may_not_be_listed_all_else_continues(server: ApiServer, tmp_path: Path) -> None:
    server.forbids = "GET /api/v1/namespaces"
    server.pod("web")
    made = Reported(server, tmp_path, [])
    made.cluster.start()
    made.report(RESTORED)
    until(lambda: server.events)
    made.cluster.saw_namespace("models")
    made.cluster.stop()
    assert namespaces.uid("models") == ""
    assert server.requests.count("GET /api/v1/namespaces") == 1
