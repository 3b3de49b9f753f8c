"""`explain --spec`: a manifest or bundle compared with the checkpoints of its namespace, before a start."""

import copy
import json
import os
from typing import Any

import pytest
from tests import checkpoint_made as made
from tests.cli_made import Node

from glowplug.checkpoint import bundle, key
from glowplug.checkpoint.manifest import Key
from glowplug.checkpoint.requirements import ContainerResources, HostFacts, require
from glowplug.errors import UsageError
from glowplug.explain import pod_manifest, verdicts

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the verdict reads checkpoints")

HOST = HostFacts(
    arch="x86_64",
    cpu_features=frozenset(("avx2",)),
    xsave_bytes=2440,
    kernel="6.1.0",
    criu="4.2.1",
    image_format="1.1",
    page_bytes=4096,
    cgroup="v2",
    driver="",
)

MANIFEST: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "models"},
    "spec": {
        "runtimeClassName": "glowplug",
        "containers": [
            {
                "name": "main",
                "image": "server:1",
                "command": ["/usr/bin/server"],
                "args": ["--port=8000", "--token", made.SECRET],
                "workingDir": "/srv",
                "env": [
                    {"name": "API_KEY", "value": made.SECRET},
                    {"name": "ADVERTISE", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                    {"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
                    {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                ],
                "resources": {"limits": {"memory": "8Gi", "cpu": 2}},
                "securityContext": {"runAsUser": 1000},
                "volumeMounts": [
                    {"name": "data", "mountPath": "/data"},
                    {"name": "app", "mountPath": "/etc/app"},
                    {"name": "scratch", "mountPath": "/scratch"},
                    {"name": "model", "mountPath": "/model/"},
                ],
            }
        ],
        "volumes": [
            {"name": "data", "hostPath": {"path": "/srv/data"}},
            {"name": "app", "configMap": {"name": "app"}},
            {"name": "scratch", "emptyDir": {}},
            {"name": "model", "persistentVolumeClaim": {"claimName": "model-a"}},
        ],
    },
}


@pytest.fixture
def node(tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Node:
    """With one checkpoint, of what MANIFEST describes."""
    made_node = Node(str(tmp_path), monkeypatch, capsys)
    monkeypatch.setattr(verdicts, "host", lambda _: HOST)
    spec = made.spec()
    spec["process"]["args"][1:2] = ["--port=8000"]
    facts = bundle.read(spec)
    captured = key.workload_key(facts, made.CHAIN, made.SANDBOX_FACTS, made.ANSWERS, made_node.store.salt())
    needs = require(HOST, ContainerResources(8 << 30, 2000, (), (), -1, -1, -1))
    made_node.published(key=Key(captured.digest, captured.parts), requirements=needs)
    return made_node


def explained(node: Node, manifest: object, *arguments: str) -> dict[str, Any]:
    """The one container of the answer."""
    path = f"{node.directory}/pod.json"
    with open(path, "w") as file:
        json.dump(manifest, file)
    ran = node.run("explain", "--json", "--spec", path, *arguments)
    assert ran.status == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)["containers"][0]
    return found


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = manifest["spec"]["containers"][0]
    return found


def test_a_manifest_of_the_captured_workload_may_match_and_says_what_is_open(node: Node) -> None:
    found = explained(node, MANIFEST)
    assert found["against"] == []
    only = found["candidates"][0]
    assert (only["reasons"], only["possible"]) == ([], True)
    for reported in (
        "layers",
        "ADVERTISE, NODE_NAME, POD_UID",
        "come from the image: PATH",
        "/etc/app",
        "/model",
    ):
        assert reported in " ".join(only["undetermined"])


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("image name", {"image": "server:2"}),
    ("args", {"args": ["--port=8000"]}),
    ("args[3]", {"args": ["--port=8000", "--token", "another"]}),
    ("env API_KEY", {"env": [{"name": "API_KEY", "value": "another"}]}),
    ("env NEW", {"env": [{"name": "NEW", "value": "x"}]}),
    ("cwd", {"workingDir": "/tmp"}),
    ("user uid", {"securityContext": {"runAsUser": 0}}),
    ("memory limit in bytes", {"resources": {"limits": {"memory": "1Gi", "cpu": "2000m"}}}),
    ("CPU limit in thousandths", {"resources": {"limits": {"memory": "8Gi", "cpu": "500m"}}}),
    ("GPUs", {"resources": {"limits": {"memory": "8Gi", "cpu": 2, "nvidia.com/gpu": 1}}}),
    ("mount /etc/app", {"volumeMounts": [{"name": "scratch", "mountPath": "/etc/app"}]}),
    ("mount /new", {"volumeMounts": [{"name": "app", "mountPath": "/new"}]}),
]


@pytest.mark.parametrize(("part", "change"), CHANGES, ids=[part for part, _ in CHANGES])
def test_what_a_manifest_says_differently_is_reported(node: Node, part: str, change: dict[str, Any]) -> None:
    manifest = copy.deepcopy(MANIFEST)
    container(manifest).update(change)
    only = explained(node, manifest)["candidates"][0]
    assert part in [reason["part"] for reason in only["reasons"]]
    assert not only["possible"]
    assert made.SECRET not in json.dumps(only)


def test_without_a_command_the_image_s_entrypoint_comes_first(node: Node) -> None:
    manifest = copy.deepcopy(MANIFEST)
    del container(manifest)["command"]
    assert explained(node, manifest)["candidates"][0]["reasons"] == []
    container(manifest)["args"] = ["--token", "another"]
    assert [reason["part"] for reason in explained(node, manifest)["candidates"][0]["reasons"]] == ["args[3]"]
    del container(manifest)["args"]
    assert explained(node, manifest)["candidates"][0]["reasons"] == []


def test_an_argument_with_a_variable_is_undetermined_and_the_others_count(node: Node) -> None:
    manifest = copy.deepcopy(MANIFEST)
    container(manifest)["args"] = ["--port=$(PORT)", "--token", made.SECRET]
    only = explained(node, manifest)["candidates"][0]
    assert (only["reasons"], only["possible"]) == ([], True)
    assert "arguments with a variable" in only["undetermined"]
    container(manifest)["args"] = ["--port=$(PORT)", "--token", "another"]
    assert [reason["part"] for reason in explained(node, manifest)["candidates"][0]["reasons"]] == ["args[3]"]


@pytest.mark.parametrize(
    ("slug", "change"),
    [
        ("runtime-class", {"runtimeClassName": None}),
        ("host-network", {"hostNetwork": True}),
        ("shared-pid", {"shareProcessNamespace": True}),
        ("shared-pid", {"hostPID": True}),
        ("host-namespace", {"hostIPC": True}),
        ("user-namespace", {"hostUsers": False}),
    ],
)
def test_a_pod_that_can_t_be_restored_is_reported_so(node: Node, slug: str, change: dict[str, Any]) -> None:
    manifest = copy.deepcopy(MANIFEST)
    manifest["spec"].update(change)
    assert slug in [one["slug"] for one in explained(node, manifest)["against"]]


def test_a_runtime_class_may_have_any_name(node: Node) -> None:
    """The cluster says which handler is behind it: the chart lets its name be chosen."""
    manifest = copy.deepcopy(MANIFEST)
    manifest["spec"]["runtimeClassName"] = "fast"
    found = explained(node, manifest)
    assert found["against"] == []
    assert "whether the RuntimeClass fast has Glowplug's handler" in found["candidates"][0]["undetermined"]


def test_annotations_and_a_terminal_count(node: Node) -> None:
    manifest = copy.deepcopy(MANIFEST)
    manifest["metadata"]["annotations"] = {"glowplug.dev/restore": "off"}
    container(manifest)["tty"] = True
    assert {"off", "terminal"} <= {one["slug"] for one in explained(node, manifest)["against"]}


def test_another_namespace_s_checkpoints_are_not_reported(node: Node) -> None:
    manifest = copy.deepcopy(MANIFEST)
    manifest["metadata"]["namespace"] = "jobs"
    assert explained(node, manifest)["candidates"] == []
    shared = node.published("2026-03-05T12:00:00Z", shared=True)
    assert explained(node, manifest)["candidates"] == []
    manifest["metadata"]["annotations"] = {
        **manifest["metadata"].get("annotations", {}),
        "glowplug.dev/accept": "models",
    }
    assert [one["checkpoint"] for one in explained(node, manifest)["candidates"]] == [shared]


def test_templates_lists_and_several_documents_are_read(node: Node) -> None:
    text = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: models}
spec:
  template:
    spec:
      runtimeClassName: glowplug
      containers: [{name: main, image: "server:1"}, {name: side, image: nginx}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: job}
spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: work, image: x}]}}}}}
---
"""
    path = f"{node.directory}/all.yaml"
    with open(path, "w") as file:
        file.write(text)
    ran = node.run("explain", "--json", "--spec", path, "-n", "batch")
    found = [(one["namespace"], one["container"]) for one in json.loads(ran.out)["containers"]]
    assert found == [("models", "main"), ("models", "side"), ("batch", "work")]
    shown = node.run("explain", "--spec", path).out
    assert "models/(a template)/main: a manifest, before there is a container" in shown
    assert "default/(a template)/work: a manifest, before there is a container" in shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just text",
        "kind: Service\nspec: {ports: []}",
        "kind: Pod\nspec: []",
        "kind: Pod\nspec: {containers: {}}",
        "kind: Pod\nspec: {containers: [{name: a, resources: {limits: {memory: lots}}}]}",
        "a: [",
        "\x00\x01",
        "!!python/object/apply:os.system [x]",
        pytest.param("[" * 100_000, id="lists without end"),
        pytest.param("a: " + "{b: " * 1000, id="tables without end"),
        "kind: List\nitems: &a [{kind: List, items: *a}]",
        "kind: Pod\nspec: {containers: [{name: a, resources: {limits: {memory: 1e999999999}}}]}",
        "kind: Pod\nspec: {containers: [{name: a, resources: {limits: {memory: 1e99999}}}]}",
        "kind: Pod\nspec: {containers: [{name: a, resources: {limits: {cpu: -1}}}]}",
        pytest.param(
            "kind: Pod\nspec: {containers: [{name: a, image: 0x" + "f" * 5000 + "}]}", id="a long number"
        ),
        "kind: Pod\nmetadata: {annotations: {a: [x]}}\nspec: {containers: [{name: a}]}",
        "kind: Pod\nspec: {containers: [{name: a, command: [[x]]}]}",
        '{"ociVersion": "1.0.2", "process": 7}',
    ],
)
def test_a_file_that_is_no_spec_is_one_clear_line(node: Node, text: str) -> None:
    path = f"{node.directory}/wrong"
    with open(path, "w") as file:
        file.write(text)
    ran = node.run("explain", "--spec", path)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "Traceback" not in ran.err


def test_what_may_still_fit_is_said_with_what_is_open(node: Node) -> None:
    path = f"{node.directory}/pod.yaml"
    with open(path, "w") as file:
        json.dump(MANIFEST, file)
    shown = node.run("explain", "--spec", path).out
    assert "nothing speaks against 1 of 1 checkpoints yet" in shown
    assert "reported at the start only: the image's layers" in shown
    assert "nothing differs so far" in shown


def test_the_secrets_of_a_manifest_are_not_shown(node: Node) -> None:
    manifest = copy.deepcopy(MANIFEST)
    container(manifest)["env"].append({"name": "OTHER", "value": made.SECRET + "2"})
    path = f"{node.directory}/pod.yaml"
    with open(path, "w") as file:
        json.dump(manifest, file)
    ran = node.run("explain", "--spec", path, "--all")
    assert "env OTHER" in ran.out
    assert made.SECRET not in ran.out + ran.err


def test_every_pod_in_a_file_is_found_and_the_rest_is_reported(node: Node) -> None:
    """A chart's output, a List, and a resource of somebody's own with two templates."""
    pod = {"spec": {"containers": [{"name": "main", "image": "i"}]}}
    service = {
        "kind": "Service",
        "metadata": {"name": "front"},
        "spec": {"ports": [{"name": "p", "port": 1}]},
    }
    own = {
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "set"},
        "spec": {"leaderWorkerTemplate": {"leaderTemplate": pod, "workerTemplate": pod}},
    }
    listed = {"kind": "List", "items": [service, {"kind": "PodList", "items": [{"kind": "Pod", **pod}]}]}
    found, left_out = pod_manifest.read([service, own, None, listed], None)
    assert ([one.container for one in found], left_out) == (["main"] * 3, ["Service front"] * 2)
    circle: dict[str, Any] = {"kind": "Own", "spec": {}}
    circle["spec"]["self"] = circle
    with pytest.raises(UsageError, match="levels deep"):
        pod_manifest.read([circle], None)
    with pytest.raises(UsageError, match=r"no pod in it.*Service front"):
        pod_manifest.read([service], None)


@pytest.mark.parametrize(
    ("text", "thousandths"),
    [
        ("500000u", 500),
        ("8e1", 80000),
        ("1E", 10**21),
        (".5", 500),
        ("5n", 1),
        ("2Ki", 2048000),
        ("+1", 1000),
    ],
)
def test_quantities_are_kubernetes_s(text: str, thousandths: int) -> None:
    container = {"name": "main", "resources": {"limits": {"cpu": text}}}
    pod = {"kind": "Pod", "spec": {"containers": [container]}}
    if thousandths >= 1 << 63:
        with pytest.raises(UsageError, match="a quantity such as"):
            pod_manifest.read([pod], None)
    else:
        assert pod_manifest.read([pod], None)[0][0].cpu_limit == thousandths
