"""Captures by the agent itself: the first pod of a kind starts cold, the next one is restored, nobody ran a command."""

import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

import pytest

from integration.captured import outcome, records
from integration.cri_specs import Security
from integration.node import Node
from integration.pods import Container, Pod, Pods, generated_name
from integration.waiting import wait_until

READY = "glowplug.dev/ready"
CAPTURED_WITHIN_S = 90.0
WORK = "2000000"  # a cold start that a restore is worth it for


def annotated(**said: str) -> dict[str, str]:
    """Annotations of a pod whose container `main` is to be captured."""
    own = {f"glowplug.dev/{name.replace('_', '-')}": text for name, text in said.items()}
    return {"glowplug.dev/containers": "main", READY: "http://:8000/token", **own}


def env(**more: str) -> dict[str, str]:
    """Of a workload that no other test has a checkpoint of."""
    return {"CASE": secrets.token_hex(4), "WORKLOAD_WORK": WORK, **more}


def started(pods: Pods, environment: Mapping[str, str], said: Mapping[str, str], **fields: Any) -> Container:
    pod = pods.run(name=generated_name("auto"), annotations=said)
    container = pod.container(env=environment, **fields)
    container.start()
    return container


def captures(node: Node, pod: Pod) -> list[dict[str, Any]]:
    """What was recorded of captures of this pod."""
    found = [one for one in records(node) if one.get("event") == "capture"]
    return [one for one in found if one["pod"] == pod.spec.name]


def capture_of(node: Node, pod: Pod) -> dict[str, Any]:
    """The one thing that was recorded of its capture, once it is. Raises TimeoutError, AssertionError."""
    found = wait_until(
        lambda: captures(node, pod), CAPTURED_WITHIN_S, f"word of a capture of {pod.spec.name}"
    )
    assert len(found) == 1, found
    return found[0]


def test_the_first_is_captured_when_it_is_ready_and_the_next_is_restored(agent: Node, pods: Pods) -> None:
    environment = env()
    first = started(pods, environment, annotated())
    reported = capture_of(agent, first.pod)
    assert (reported["result"], reported["by"]) == ("captured", "agent"), reported
    state = first.state()
    second = started(pods, environment, annotated())
    assert outcome(agent, second) == "restored"
    assert second.state()["token"] == state["token"]
    third = started(pods, environment, annotated())
    assert outcome(agent, third) == "restored"
    assert captures(agent, second.pod) == captures(agent, third.pod) == []


def test_the_cold_start_that_was_seen_is_in_the_manifest(agent: Node, pods: Pods) -> None:
    """From the start until the answer was yes; what `after:` says is not measured."""
    seen, said = (
        capture_of(agent, started(pods, env(), annotated(ready=way)).pod)["checkpoint"]
        for way in ("http://:8000/token", "after:3s")
    )
    assert manifest(agent, seen)["measured"]["cold_start_s"] > 0
    assert manifest(agent, said)["measured"]["cold_start_s"] is None


def manifest(node: Node, checkpoint: str) -> dict[str, Any]:
    with open(f"{node.names.cache}/checkpoints/{checkpoint}/manifest.json") as file:
        found: dict[str, Any] = json.load(file)
    return found


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        ({"ready": "htp://:8000/health"}, "glowplug.dev/ready: expected http://:PORT/PATH"),
        ({"ready": ""}, "nothing says when it is ready"),
        ({"max_pause": "1ms"}, "and its pod allows 0.001 s"),
    ],
)
def test_what_can_not_be_captured_is_reported_once_with_its_reason(
    said: dict[str, str], detail: str, agent: Node, pods: Pods
) -> None:
    container = started(pods, env(), annotated(**said))
    reported = capture_of(agent, container.pod)
    assert reported["result"] == "refused"
    assert detail in reported["detail"]
    assert container.state()


def test_never_is_never_and_another_container_is_left_alone(agent: Node, pods: Pods) -> None:
    """Both said at the start; a third one that is captured after them shows that they had their turn."""
    never = started(pods, env(), annotated(capture="never"))
    other = started(pods, env(), {**annotated(), "glowplug.dev/containers": "other"})
    last = started(pods, env(), annotated())
    assert capture_of(agent, last.pod)["result"] == "captured"
    assert [one["result"] for one in captures(agent, never.pod)] == ["not-needed"]
    assert captures(agent, other.pod) == []


def test_once_and_exit_ends_with_status_0_cold_or_restored(agent: Node, pods: Pods) -> None:
    """Also where the workload would end with another one, and where the checkpoint is there already."""
    environment = env(WORKLOAD_TERM_CODE="9")
    said = annotated(capture="once-and-exit")
    first = started(pods, environment, said)
    assert capture_of(agent, first.pod)["result"] == "captured"
    assert first.ended().exit_code == 0
    second = started(pods, environment, said)
    assert second.ended().exit_code == 0
    assert outcome(agent, second) == "restored"


def test_once_and_exit_that_can_not_be_captured_fails(agent: Node, pods: Pods) -> None:
    container = started(pods, env(), annotated(capture="once-and-exit", max_pause="1ms"))
    assert container.ended().exit_code == 128 + 9
    assert capture_of(agent, container.pod)["result"] == "refused"


def test_one_that_serves_since_long_is_left_alone_by_an_agent_that_comes_later(
    agent: Node, pods: Pods
) -> None:
    """What others sent it would be in its image. Who wants that says so."""
    agent.stop_agent()
    agent.write_settings({"capture_max_age_s": 0.5})
    try:
        serving, any_time = (started(pods, env(), annotated(capture=when)) for when in ("ready", "any-time"))
        for container in (serving, any_time):
            container.serves()
        time.sleep(0.5)
        agent.start_agent()
        assert capture_of(agent, any_time.pod)["result"] == "captured"
        left = capture_of(agent, serving.pod)
        assert left["result"] == "not-needed" and "before this agent did" in left["detail"]
    finally:
        agent.stop_agent()
        agent.write_settings({})


@pytest.mark.parametrize("mode", ["observe", "off"])
def test_the_node_can_be_turned_off_and_set_to_observe(mode: str, agent: Node, pods: Pods) -> None:
    environment = env()
    capture_of(agent, started(pods, environment, annotated()).pod)
    agent.stop_agent()
    agent.write_settings({"mode": mode})
    try:
        agent.start_agent()
        like, other = (started(pods, one, annotated()) for one in (environment, env()))
        assert outcome(agent, like) == {"observe": "cold:observed", "off": "cold:off"}[mode]
        assert capture_of(agent, other.pod)["result"] == {"observe": "refused", "off": "not-needed"}[mode]
    finally:
        agent.stop_agent()
        agent.write_settings({})


def test_a_restored_process_is_reported(agent: Node, pods: Pods) -> None:
    """By a file with values of its own, there before it runs, and by a signal, once."""
    environment = env()
    said = annotated(restored_signal="USR1")
    fields = {"security": Security(run_as_user=1000, run_as_group=1000, readonly_rootfs=True)}
    first = started(pods, environment, said, **fields)
    assert capture_of(agent, first.pod)["result"] == "captured"
    assert first.state()["signals"]["SIGUSR1"] == 0
    assert first.exec("cat", "/run/glowplug/restored").exit_code != 0
    found = []
    for _ in range(2):
        again = started(pods, environment, said, **fields)
        assert outcome(agent, again) == "restored"
        assert again.state()["signals"]["SIGUSR1"] == 1
        found.append(json.loads(again.exec("cat", "/run/glowplug/restored").stdout))
    assert len(bytes.fromhex(found[0]["random"])) == 32
    assert found[0]["generation"] != found[1]["generation"] and found[0]["random"] != found[1]["random"]
