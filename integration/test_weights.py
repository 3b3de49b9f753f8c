"""Weights that are read again after a restore are those of the checkpoint: other ones are another workload."""

import secrets
from pathlib import Path

from integration.captured import outcome
from integration.cri_specs import Mount
from integration.node import Node
from integration.pods import Container, Pods, generated_name
from integration.test_automatic import annotated, capture_of
from integration.test_hooks import ENGINE
from integration.waiting import wait_until


def started(pods: Pods, environment: dict[str, str], model: Path) -> Container:
    said = {**annotated(engine="vllm", weights="reload"), "glowplug.dev/ready": ""}
    pod = pods.run(name=generated_name("weights"), annotations=said)
    mount = Mount(container_path="/models", host_path=str(model), readonly=True)
    container = pod.container(env=environment, command=ENGINE, mounts=(mount,))
    container.start()
    return container


def test_other_weights_are_another_workload(agent: Node, pods: Pods, tmp_path: Path) -> None:
    """The first start on a node finds them unread, and is captured all the same."""
    model = tmp_path / "model"
    model.mkdir()
    weights = model / "model.safetensors"
    weights.write_bytes(b"one" * 1_000_000)
    environment = {"CASE": secrets.token_hex(4)}
    first = started(pods, environment, model)
    found = capture_of(agent, first.pod)
    assert found["result"] == "captured", found
    assert outcome(agent, started(pods, environment, model)) == "restored"
    weights.write_bytes(b"two" * 1_000_000)
    other = started(pods, environment, model)
    assert outcome(agent, other) in ("cold:unknown-fact", "cold:no-checkpoint")
    found = capture_of(agent, other.pod)
    assert found["result"] == "captured", found
    wait_until(lambda: outcome(agent, started(pods, environment, model)) == "restored", 20, "a restore")
