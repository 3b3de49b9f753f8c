"""Captures by the agent itself: the first pod of a kind starts cold, the next one is restored, nobody ran a command."""

import secrets
from collections.abc import Mapping
from typing import Any

from integration.captured import outcome, records
from integration.node import Node
from integration.pods import Container, Pod, Pods
from integration.waiting import wait_until

READY = "glowplug.dev/ready"
CAPTURED_WITHIN_S = 30.0
WORK = "2000000"  # a cold start that a restore is worth it for


def annotated(**said: str) -> dict[str, str]:
    """Annotations of a pod whose container `main` is to be captured."""
    own = {f"glowplug.dev/{name.replace('_', '-')}": text for name, text in said.items()}
    return {"glowplug.dev/containers": "main", READY: "http://:8000/token", **own}


def env(**more: str) -> dict[str, str]:
    """Of a workload that no other test has a checkpoint of."""
    return {"CASE": secrets.token_hex(4), "WORKLOAD_WORK": WORK, **more}


def started(pods: Pods, environment: Mapping[str, str], said: Mapping[str, str], **fields: Any) -> Container:
    pod = pods.run(name=f"auto-{secrets.token_hex(3)}", annotations=said)
    container = pod.container(env=environment, **fields)
    container.start()
    return container


def captures(node: Node, pod: Pod) -> list[dict[str, Any]]:
    """What was recorded of captures of this pod."""
    found = [one for one in records(node) if one.get("event") == "capture"]
    return [one for one in found if one["pod"] == pod.spec.name]


def capture_of(node: Node, pod: Pod) -> dict[str, Any]:
    """The one thing that was recorded of its capture, once it is. Raises TimeoutError, AssertionError."""
    found = wait_until(lambda: captures(node, pod), CAPTURED_WITHIN_S, f"word of a capture of {pod.spec.name}")
    assert len(found) == 1, found
    return found[0]


def test_the_first_is_captured_when_it_is_ready_and_the_next_is_restored(agent: Node, pods: Pods) -> None:
    environment = env()
    first = started(pods, environment, annotated())
    told = capture_of(agent, first.pod)
    assert (told["result"], told["by"]) == ("captured", "agent"), told
    state = first.state()
    second = started(pods, environment, annotated())
    assert outcome(agent, second) == "restored"
    assert second.state()["token"] == state["token"]
    third = started(pods, environment, annotated())
    assert outcome(agent, third) == "restored"
    assert captures(agent, second.pod) == captures(agent, third.pod) == []
