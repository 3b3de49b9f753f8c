"""Who is never restored, although there is a checkpoint of the same workload: each starts cold and says why.

And none of them can be captured.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from integration import images
from integration.captured import Captured, capture, captured, outcome, records
from integration.cri_specs import Namespaces
from integration.node import Node
from integration.pods import Container, Pod, Pods

NAME = "plain"
ANNOTATION = "glowplug.dev/restore"


@pytest.fixture(scope="module")
def plain(node: Node) -> Iterator[Captured]:
    node.ensure_agent()
    pods = Pods(node)
    yield captured(node, pods, name=NAME)
    pods.remove_all()


def like(plain: Captured, pods: Pods, pod_fields: dict[str, Any], **fields: Any) -> Container:
    """A container like the captured one, except for this, in a pod that differs by that; started."""
    pod = pods.run(**{**plain.pod_fields, **pod_fields})
    container = pod.container(**{**plain.fields, **fields})
    container.start()
    return container


def refused(node: Node, pod: Pod) -> str:
    """What a capture says; it must be one line, with the exit status of a wrong input."""
    done = capture(node, pod.spec.namespace, pod.spec.name)
    assert done.returncode == 2, done
    assert done.stdout == "" and done.stderr.count("\n") == 1
    return done.stderr


def cold(node: Node, container: Container) -> str:
    """The slug of a cold start; its record has a sentence that says why."""
    kind, _, slug = outcome(node, container).partition(":")
    assert kind == "cold"
    assert len(records(node, container.id)[0]["detail"]) > 20
    return slug


@pytest.mark.parametrize(
    ("pod_fields", "fields", "slug"),
    [
        ({}, {"tty": True, "stdin": True}, "terminal"),
        ({"namespaces": Namespaces(pid="pod")}, {}, "shared-pid"),
        ({"namespaces": Namespaces(pid="node")}, {}, "shared-pid"),
        ({"namespaces": Namespaces(network="node")}, {"command": ("sleep", "1000")}, "host-network"),
        ({"namespaces": Namespaces(ipc="node")}, {}, "host-namespace"),
    ],
    ids=["terminal", "pod-pid", "host-pid", "host-network", "host-ipc"],
)
def test_the_table(
    agent: Node, plain: Captured, pods: Pods, pod_fields: dict[str, Any], fields: dict[str, Any], slug: str
) -> None:
    container = like(plain, pods, pod_fields, **fields)
    assert cold(agent, container) == slug
    assert f"({slug})" in refused(agent, container.pod)


def test_a_container_that_joins_another_s_processes(agent: Node, plain: Captured, pods: Pods) -> None:
    """As an ephemeral container with a target does."""
    pod = pods.run(name="debugged")
    target = pod.container("target", command=("sleep", "1000"))
    target.start()
    joined = pod.container(**plain.fields, namespaces=Namespaces(pid="target", target=target.id))
    joined.start()
    assert cold(agent, joined) == "shared-pid"


def test_a_user_namespace(agent: Node, plain: Captured, pods: Pods) -> None:
    if agent.version < (2,):
        pytest.skip("containerd before 2.0 gives no container a user namespace")
    user = Namespaces(user=(100_000, 65_536))
    container = like(plain, pods, {"namespaces": user})
    assert cold(agent, container) == "user-namespace"


@pytest.mark.parametrize(
    ("annotations", "slug"),
    [
        ({ANNOTATION: "off"}, "off"),
        ({ANNOTATION: "maybe"}, "bad-annotation"),
        ({"glowplug.dev/containers": "other, another"}, "not-selected"),
        ({ANNOTATION: "observe"}, "observed"),
    ],
    ids=["off", "mistyped", "not-selected", "observe"],
)
def test_a_pod_has_a_say(
    agent: Node, plain: Captured, pods: Pods, annotations: dict[str, str], slug: str
) -> None:
    container = like(plain, pods, {"annotations": annotations})
    assert not plain.is_in(container)
    assert cold(agent, container) == slug


@pytest.mark.parametrize("value", ["on", ""])
def test_a_pod_that_says_yes_is_restored(agent: Node, plain: Captured, pods: Pods, value: str) -> None:
    container = like(plain, pods, {"annotations": {ANNOTATION: value, "glowplug.dev/containers": "main"}})
    assert plain.is_in(container)
    assert outcome(agent, container) == "restored"


def test_another_namespace_s_checkpoint_is_not_reported(agent: Node, plain: Captured, pods: Pods) -> None:
    container = like(plain, pods, {"namespace": "elsewhere"})
    assert not plain.is_in(container)
    assert cold(agent, container) == "no-checkpoint"
    assert plain.checkpoint not in str(records(agent, container.id))


def test_another_handler_s_containers_are_not_ours(agent: Node, plain: Captured, pods: Pods) -> None:
    """No outcome of them is recorded."""
    pod = pods.run(**plain.pod_fields, handler="runc")
    container = pod.serving(**plain.fields)
    assert not plain.is_in(container)
    assert records(agent, container.id) == []


def test_a_sandbox_has_no_outcome(agent: Node, plain: Captured, pods: Pods) -> None:
    pod = pods.run(**plain.pod_fields)
    assert records(agent, pod.id) == []


@pytest.mark.parametrize(
    "change",
    [
        {"args": ("extra",)},
        {"working_dir": "/tmp"},
        {"image": images.VOLUME_IMAGE},
        {"env": {"WORKLOAD_MEMORY_MB": "1"}},
        {"command": ("/usr/bin/python3", "-B", "-m", "integration.workload")},
    ],
    ids=["args", "cwd", "image", "env", "command"],
)
def test_another_workload_is_no_match(
    agent: Node, plain: Captured, pods: Pods, change: dict[str, Any]
) -> None:
    agent.import_image(images.volume_image(), images.VOLUME_IMAGE)
    container = like(plain, pods, {}, **change)
    assert cold(agent, container) == "no-checkpoint"
