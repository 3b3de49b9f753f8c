"""Two nodes and one registry: what one captured, the other restores; what does not fit it, it says and leaves."""

import glob
import json
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from glowplug.cache import disk
from glowplug.cache.store import Store
from glowplug.checkpoint import manifest as manifests
from glowplug.registry import names, opened, push, retention
from glowplug.registry.settings import RegistrySettings
from integration import images
from integration.captured import outcome, records
from integration.checkpoints_travel.nodes import is_stored
from integration.checkpoints_travel.serving import Nodes
from integration.node import GLOWPLUG, Node
from integration.pods import Container, Pods, pods_on
from integration.registry import Registry, free_port
from integration.registry_faults import Proxy
from integration.shared_keys import fleet, toml_keys
from integration.test_automatic import annotated, capture_of, env, started
from integration.waiting import wait_until

WITHIN_S = 60.0


@pytest.fixture(scope="module")
def other() -> Iterator[Node]:
    """Node B: a state directory and a containerd of its own."""
    with Node() as made:
        made.import_image(images.workload_image(), images.WORKLOAD_IMAGE)
        warm = Pods(made)
        warm.run(handler="runc").container().start()
        warm.remove_all()
        yield made


@pytest.fixture
def other_pods(other: Node) -> Iterator[Pods]:
    with pods_on(other) as made:
        yield made
        made.remove_all()
        other.stop_agent()


@pytest.fixture
def settings(registry: Registry, tmp_path: Path) -> RegistrySettings:
    place = f"{registry.host}/nodes-{secrets.token_hex(4)}"
    return fleet(str(tmp_path / "keys"), registry, repository=place, policy="both")


@pytest.fixture
def a(node: Node, settings: RegistrySettings) -> Iterator[Node]:
    """Node A with the registry, an agent of its own for the test."""
    with_registry(node, settings)
    yield node
    node.stop_agent()
    node.write_settings({})


def with_registry(node: Node, settings: RegistrySettings, **more: object) -> None:
    node.stop_agent()
    node.write_settings({**toml_keys(settings), **more})
    node.start_agent()


def of_registry(node: Node, op: str) -> list[dict[str, Any]]:
    """What was recorded of pushes, or pulls."""
    return [one for one in records(node) if one.get("event") == "registry" and one["op"] == op]


def pushes_of(node: Node, checkpoint: str) -> list[dict[str, Any]]:
    """What was recorded of pushes of a checkpoint."""
    return [one for one in of_registry(node, "push") if one.get("checkpoint") == checkpoint]


def captured_and_pushed(
    node: Node, pods: Pods, environment: Mapping[str, str]
) -> tuple[Container, dict[str, Any]]:
    """A pod that the agent has captured and pushed."""
    first = started(pods, environment, annotated())
    checkpoint = capture_of(node, first.pod)["checkpoint"]
    reported = wait_until(lambda: pushes_of(node, checkpoint), WITHIN_S, "a push")
    assert reported[-1]["result"] == "pushed", reported
    return first, reported[-1]


def explained(node: Node, container: Container) -> str:
    command = [GLOWPLUG, "explain", "--config", node.names.config, container.pod.spec.name]
    return subprocess.run(command, env=node.env, capture_output=True, text=True, timeout=60).stdout


def test_the_first_pod_of_a_new_node_is_restored(
    a: Node, other: Node, pods: Pods, other_pods: Pods, settings: RegistrySettings, registry: Registry
) -> None:
    """It waits for the pull; B never captured. The planted secret is found in the process and nowhere on the way."""
    secret = secrets.token_hex(16)
    environment = env(SECRET=secret)
    first, _ = captured_and_pushed(a, pods, environment)
    state = first.state()
    with_registry(other, settings)
    pod = other_pods.run(name="first-of-b", annotations=annotated(registry_wait="25s"))
    second = pod.container(env=environment)
    second.start()
    assert outcome(other, second) == "restored", records(other, second.id)
    assert second.state()["token"] == state["token"]
    assert secret in json.dumps(second.exec("cat", "/proc/1/environ").stdout.decode().split("\0"))
    assert [one for one in records(other) if one.get("event") == "capture"] == []
    assert not is_stored(registry, secret.encode()) and not is_stored(registry, str(state["token"]).encode())
    for node in (a, other):
        for log in [*glob.glob(f"{node.names.state}/*.log"), f"{node.names.cache}/history.jsonl"]:
            with open(log, "rb") as file:
                assert secret.encode() not in file.read(), log


def test_without_waiting_the_second_pod_is_restored(
    a: Node, other: Node, pods: Pods, other_pods: Pods, settings: RegistrySettings
) -> None:
    environment = env()
    first, pushed = captured_and_pushed(a, pods, environment)
    with_registry(other, settings)
    never = annotated(capture="never")
    second = started(other_pods, environment, never)
    assert outcome(other, second) == "cold:no-checkpoint"
    wait_until(
        lambda: [one for one in of_registry(other, "pull") if one.get("checkpoint") == pushed["checkpoint"]],
        WITHIN_S,
        "a pull",
    )
    third = started(other_pods, environment, never)
    assert outcome(other, third) == "restored"
    assert third.state()["token"] == first.state()["token"]


def test_what_needs_another_kernel_is_not_pulled_and_explained(
    a: Node, other: Node, pods: Pods, other_pods: Pods, settings: RegistrySettings, registry: Registry
) -> None:
    """A's checkpoint says that it was captured on another kernel: its manifest is pushed so, complete and signed."""
    environment = env()
    first = started(pods, environment, annotated(registry="off"))
    store = Store(a.names.cache)
    checkpoint = capture_of(a, first.pod)["checkpoint"]
    manifest = manifests.loads(store.manifest(checkpoint))
    needs = replace(manifest.requirements, kernel="4.4.0-1-amd64")
    elsewhere = Store(f"{a.names.state}/elsewhere")
    with elsewhere.draft(1 << 30) as draft:
        os.rmdir(draft.path)
        subprocess.run(["cp", "-a", store.path(checkpoint), draft.path], check=True)
        os.unlink(f"{draft.path}/manifest.json")
        changed = elsewhere.publish(draft, manifests.dumps(replace(manifest, requirements=needs)))
    with opened.repository(settings, manifest.namespace) as repository:
        push.push(elsewhere, repository, settings, changed)
    disk.delete(elsewhere.root)
    with Proxy(registry) as proxy:
        through = replace(settings, repository=f"{proxy.host}/{settings.repository.partition('/')[2]}")
        with_registry(other, through)
        pod = other_pods.run(name="elsewhere", annotations=annotated(registry_wait="25s", capture="never"))
        second = pod.container(env=environment)
        second.start()
        assert outcome(other, second) == "cold:kernel"
        found = [one for one in records(other, second.id) if "outcome" in one]
        assert "was not pulled: kernel: needs 4.4.0-1-amd64 or newer of 4.4.*" in found[0]["detail"], found
        assert "registry (kernel" in explained(other, second)
        blobs = [path for method, path in proxy.seen if "/blobs/" in path and method == "GET"]
        assert len(blobs) == 2, blobs  # the signature's payload and the config
    assert Store(other.names.cache).index.find(manifest.namespace, manifest.key.digest) == []


def test_another_node_gives_it_when_the_registry_is_gone(
    node: Node,
    other: Node,
    pods: Pods,
    other_pods: Pods,
    settings: RegistrySettings,
    registry: Registry,
    tmp_path: Path,
) -> None:
    """The registry says which manifest it is, and disappears; A's agent serves the rest to B's."""
    fleet_of_nodes = Nodes(tmp_path / "nodes")
    port = free_port()
    serves = replace(fleet_of_nodes.with_certificate(settings, "a"), serve=f"127.0.0.1:{port}")
    with_registry(node, serves)
    environment = env()
    try:
        first, _ = captured_and_pushed(node, pods, environment)
        with Proxy(registry) as proxy:
            proxy.reset(lambda number, method, path: "cut" if number else None)
            asks = replace(
                fleet_of_nodes.with_certificate(settings, "b"),
                repository=f"{proxy.host}/{settings.repository.partition('/')[2]}",
                peers=(f"https://127.0.0.1:{port}",),
            )
            with_registry(other, asks)
            pod = other_pods.run(name="from-a", annotations=annotated(registry_wait="30s", capture="never"))
            second = pod.container(env=environment)
            second.start()
            if outcome(other, second) != "restored":  # the machine was too busy for it to wait so long
                wait_until(lambda: of_registry(other, "pull"), WITHIN_S, "a pull")
                second = started(other_pods, environment, annotated(capture="never"))
            assert outcome(other, second) == "restored", records(other, second.id)
            assert second.state()["token"] == first.state()["token"]
    finally:
        node.stop_agent()
        node.write_settings({})


def test_an_artifact_that_nobody_signed_is_a_cold_start_with_that_reason(
    a: Node, other: Node, pods: Pods, other_pods: Pods, settings: RegistrySettings
) -> None:
    environment = env()
    _, pushed = captured_and_pushed(a, pods, environment)
    with opened.repository(settings, "default") as repository:
        row = next(row for row in retention.rows(repository) if row.checkpoint == pushed["checkpoint"])
        retention.remove_tag(repository, names.signature_tag(row.digest))
    with_registry(other, settings)
    pod = other_pods.run(name="unsigned", annotations=annotated(registry_wait="25s", capture="never"))
    second = pod.container(env=environment)
    second.start()
    assert outcome(other, second) == "cold:registry-unsigned"
    assert os.listdir(f"{other.names.cache}/drafts") == []


def test_a_push_that_the_agent_s_end_interrupts_is_made_by_the_next_one(
    node: Node, pods: Pods, settings: RegistrySettings, registry: Registry
) -> None:
    """The registry is down while it is captured, the agent is killed, and another one takes the push up."""
    with_registry(node, settings)
    try:
        registry.stop()
        first = started(pods, env(), annotated())
        checkpoint = capture_of(node, first.pod)["checkpoint"]
        failed = wait_until(lambda: pushes_of(node, checkpoint), WITHIN_S, "a push that failed")
        assert {one["result"] for one in failed} == {"failed"}
        node.stop_agent(signal.SIGKILL)
        registry.start()
        node.start_agent()
        wait_until(lambda: pushes_of(node, checkpoint)[-1]["result"] == "pushed", WITHIN_S, "the push")
        wait_until(lambda: os.listdir(f"{node.names.cache}/registry/pushes") == [], WITHIN_S, "the note gone")
    finally:
        registry.start()
        node.stop_agent()
        node.write_settings({})
