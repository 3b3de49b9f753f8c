"""Hooks around captures and restores, against a server that behaves as engines do; questions of readiness."""

import http.client
import json
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from glowplug.agent.captures import hooks, ready
from glowplug.agent.captures.running import Running
from glowplug.cache.store import Store
from glowplug.capture import policy
from glowplug.errors import GlowplugError
from integration.captured import outcome, records
from integration.cri_specs import Namespaces
from integration.images import PYTHON
from integration.node import Node
from integration.pods import Container, Pods
from integration.test_automatic import annotated, capture_of, started
from integration.waiting import wait_until

ENGINE = (f"/{PYTHON}", "-m", "integration.workload.engine")
WAKES_WITHIN_S = 20.0
RESUME = "/resume_memory_occupation"
ANSWER = "11 22 33"


def engine(pods: Pods, environment: dict[str, str], said: dict[str, str]) -> Container:
    return started(pods, environment, said, command=ENGINE)


def reported(container: Container) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(container.get("/reported"))
    return found


@pytest.mark.parametrize(
    ("name", "weights", "sleep", "wake"),
    [
        ("vllm", "", "/sleep?level=1", ("/wake_up",)),
        (
            "vllm",
            "reload",
            "/sleep?level=2",
            ("/wake_up?tags=weights", "/collective_rpc", "/wake_up?tags=kv_cache"),
        ),
        ("sglang:8000", "keep", "/release_memory_occupation", (RESUME,)),
        (
            "sglang:8000",
            "reload",
            "/release_memory_occupation",
            (RESUME, "/update_weights_from_disk", RESUME),
        ),
    ],
)
def test_an_engine_sleeps_in_its_checkpoint_and_wakes_in_every_start(
    name: str, weights: str, sleep: str, wake: tuple[str, ...], agent: Node, pods: Pods
) -> None:
    environment = {"CASE": secrets.token_hex(4), **({} if weights == "reload" else {"WEIGHTS_BACKUP": "1"})}
    said = {**annotated(engine=name, weights=weights), "glowplug.dev/ready": ""}
    first = engine(pods, environment, said)
    found = capture_of(agent, first.pod)
    assert found["result"] == "captured", found
    before = reported(first)
    assert (before["reported"], before["asleep"]) == ([sleep, *wake], False)
    assert complete(first) == ANSWER
    second = engine(pods, environment, said)
    assert outcome(agent, second) == "restored"
    wait_until(lambda: not reported(second)["asleep"], WAKES_WITHIN_S, "the engine awake")
    assert [one["result"] for one in hooks_after_restore(agent, second)] == ["done"]
    after = reported(second)
    assert (after["reported"], after["token"]) == ([sleep, *wake], before["token"])
    assert complete(second) == ANSWER


OWN: dict[str, Any] = {
    "port": 8000,
    "ready": "/health",
    "reload": {
        "sleep": [{"method": "POST", "path": "/release_memory_occupation", "body": "{}"}],
        "wake": [
            {"method": "POST", "path": RESUME, "body": '{"tags": ["weights"]}'},
            {"method": "GET", "path": "/get_model_info", "keep": ["model_path"]},
            {
                "method": "POST",
                "path": "/update_weights_from_disk",
                "body": '{"model_path": "$model_path"}',
                "expected": {"success": True},
            },
            {"method": "POST", "path": RESUME, "body": "{}"},
        ],
    },
}


def test_a_preset_of_the_nodes_configuration_parks_and_wakes_as_one_of_ours(agent: Node, pods: Pods) -> None:
    """And one that says something else has other checkpoints."""
    environment = {"CASE": secrets.token_hex(4)}
    said = {**annotated(engine="own", weights="reload"), "glowplug.dev/ready": ""}
    agent.stop_agent()
    agent.write_settings({"presets": {"own": OWN}})
    try:
        agent.start_agent()
        first = engine(pods, environment, said)
        found = capture_of(agent, first.pod)
        assert found["result"] == "captured", found
        second = engine(pods, environment, said)
        assert outcome(agent, second) == "restored"
        assert [one["result"] for one in hooks_after_restore(agent, second)] == ["done"]
        assert complete(second) == complete(first) == ANSWER

        agent.stop_agent()
        other = {**OWN["reload"], "wake": [*OWN["reload"]["wake"], {"method": "GET", "path": "/health"}]}
        agent.write_settings({"presets": {"own": {**OWN, "reload": other}}})
        agent.start_agent()
        assert outcome(agent, engine(pods, environment, said)) == "cold:no-checkpoint"
    finally:
        agent.stop_agent()
        agent.write_settings({})


def serves(container: Container) -> bool:
    try:
        return container.get("/health") == b""
    except OSError:
        return False


def complete(container: Container) -> str:
    """The text that it makes."""
    connection = http.client.HTTPConnection(container.pod.ip, 8000, timeout=60)
    with closing(connection):
        connection.request("POST", "/v1/completions", "{}", {"Content-Type": "application/json"})
        return str(json.loads(connection.getresponse().read())["choices"][0]["text"])


def test_an_engine_that_says_200_and_does_not_sleep_is_not_captured(agent: Node, pods: Pods) -> None:
    environment = {"CASE": secrets.token_hex(4), "LIE": "sleep"}
    container = engine(pods, environment, annotated(engine="vllm", ready="tcp://:8000"))
    found = capture_of(agent, container.pod)
    assert found["result"] == "failed"
    assert 'expected {"is_sleeping": true}, the engine answered: {"is_sleeping": false}' in found["detail"]
    assert complete(container) == ANSWER


CANARY = {
    "glowplug.dev/canary": "http-post://:8000/v1/completions",
    "glowplug.dev/canary-body": '{"prompt": [1, 2, 3], "max_tokens": 3, "temperature": 0}',
}


def test_a_copy_that_answers_as_its_original_did_is_done(agent: Node, pods: Pods) -> None:
    environment = {"CASE": secrets.token_hex(4)}
    said = {**annotated(engine="vllm", weights="reload"), "glowplug.dev/ready": "", **CANARY}
    first = engine(pods, environment, said)
    found = capture_of(agent, first.pod)
    assert found["result"] == "captured", found
    second = engine(pods, environment, said)
    assert [one["result"] for one in hooks_after_restore(agent, second)] == ["done"]


def test_a_copy_that_answers_otherwise_is_ended_and_its_checkpoint_quarantined(
    agent: Node, pods: Pods
) -> None:
    environment = {"CASE": secrets.token_hex(4), "LIE": "answer"}
    said = {**annotated(engine="vllm", weights="reload"), "glowplug.dev/ready": "", **CANARY}
    first = engine(pods, environment, said)
    found = capture_of(agent, first.pod)
    assert found["result"] == "captured", found
    second = engine(pods, environment, said)
    (reports_of,) = hooks_after_restore(agent, second)
    assert reports_of["result"] == "failed"
    assert re.search(
        r"expected the answer sha256:[0-9a-f]{16}, got sha256:[0-9a-f]{16}: the tokens differ",
        reports_of["detail"],
    )
    assert second.ended().exit_code == 137
    store = Store(agent.names.cache)
    reason = store.state(found["checkpoint"]).quarantine
    assert reason is not None and reports_of["detail"] in str(reason)
    third = engine(pods, environment, said)
    assert outcome(agent, third).startswith("cold:")
    wait_until(lambda: serves(third), WAKES_WITHIN_S, "the server of the cold start")
    assert complete(third) == ANSWER


@pytest.mark.parametrize(
    ("wrong", "said_of"),
    [
        ({"LIE": "wake"}, 'expected {"is_sleeping": false}, the engine answered: {"is_sleeping": true}'),
        ({"HANG": "wake"}, "/wake_up on port 8000: no answer: timed out"),
    ],
)
def test_an_engine_that_does_not_wake_is_ended_and_starts_cold(
    wrong: dict[str, str], said_of: str, agent: Node, pods: Pods
) -> None:
    """It would answer its probe and no request."""
    environment = {"CASE": secrets.token_hex(4), **wrong}
    said = {**annotated(engine="vllm", hook_timeout="5s"), "glowplug.dev/ready": ""}
    first = engine(pods, environment, said)
    found = capture_of(agent, first.pod)
    assert found["result"] == "captured", found
    second = engine(pods, environment, said)
    (reports_of,) = hooks_after_restore(agent, second)
    assert reports_of["result"] == "failed" and said_of in reports_of["detail"]
    assert second.ended().exit_code == 137


def test_a_wake_that_fails_at_first_is_tried_again(agent: Node, pods: Pods) -> None:
    """After the capture, and in each copy."""
    environment = {"CASE": secrets.token_hex(4), "FAIL_WAKE": "1"}
    said = {**annotated(engine="vllm"), "glowplug.dev/ready": ""}
    first = engine(pods, environment, said)
    found = capture_of(agent, first.pod)
    assert (found["result"], found.get("detail")) == ("captured", None), found
    assert complete(first) == ANSWER
    second = engine(pods, environment, said)
    (reports_of,) = hooks_after_restore(agent, second)
    assert (reports_of["result"], reports_of["tries"]) == ("done", 2)
    assert complete(second) == ANSWER


def test_one_that_sleeps_for_its_capture_and_never_wakes_is_ended(agent: Node, pods: Pods) -> None:
    environment = {"CASE": secrets.token_hex(4), "FAIL_WAKE": "1000"}
    said = {**annotated(engine="vllm", hook_timeout="5s"), "glowplug.dev/ready": ""}
    first = engine(pods, environment, said)
    found = capture_of(agent, first.pod)
    assert found["result"] == "captured"
    assert 'the engine answered 500: {"error": "out of memory"}' in found["detail"]
    assert found["detail"].endswith("can't be woken, so it is ended")
    assert first.ended(WAKES_WITHIN_S).exit_code == 128 + 9


def hooks_after_restore(node: Node, container: Container) -> list[dict[str, Any]]:
    def found() -> list[dict[str, Any]]:
        return [one for one in records(node, container.id) if one.get("event") == "after-restore"]

    return wait_until(found, WAKES_WITHIN_S, "word of the hook after the restore")


def test_an_engine_that_does_not_sleep_is_not_captured_and_woken_all_the_same(
    agent: Node, pods: Pods
) -> None:
    environment = {"CASE": secrets.token_hex(4), "FAIL_SLEEP": "1"}
    container = engine(pods, environment, annotated(engine="vllm", ready="tcp://:8000"))
    found = capture_of(agent, container.pod)
    assert found["result"] == "failed"
    assert (
        'POST /sleep?level=1 on port 8000: the engine answered 500: {"error": "device is busy"}'
        in found["detail"]
    )
    assert reported(container)["reported"] == ["/sleep?level=1", "/wake_up"]


def test_an_engine_is_not_put_to_sleep_for_a_capture_that_has_no_space(agent: Node, pods: Pods) -> None:
    agent.stop_agent()
    agent.write_settings({"cache_limit_bytes": 1 << 20, "readiness_timeout_s": 20})
    try:
        agent.start_agent()
        environment = {"CASE": secrets.token_hex(4)}
        container = engine(pods, environment, annotated(engine="vllm", ready="tcp://:8000"))
        found = capture_of(agent, container.pod)
        assert (found["result"], "no space for " in found["detail"]) == ("refused", True), found
        assert reported(container)["reported"] == []
    finally:
        agent.stop_agent()
        agent.write_settings({})


def test_an_agent_that_comes_back_repeats_no_hook_and_forgets_none(agent: Node, pods: Pods) -> None:
    environment = {"CASE": secrets.token_hex(4)}
    said = annotated(
        after_restore="http-post://:8000/wake_up", ready="http://:8000/health", after_capture="signal:USR1"
    )
    first = engine(pods, environment, said)
    assert capture_of(agent, first.pod)["result"] == "captured"
    assert reported(first)["signals"] == 1
    second = engine(pods, environment, said)
    assert hooks_after_restore(agent, second)[0]["result"] == "done"
    agent.stop_agent()
    agent.start_agent()
    third = engine(pods, environment, said)
    assert hooks_after_restore(agent, third)[0]["result"] == "done"
    assert reported(second)["reported"] == reported(third)["reported"] == ["/wake_up"]


def test_one_that_can_not_be_woken_is_ended_and_starts_cold(agent: Node, pods: Pods) -> None:
    """Restored and asleep it would be worse than cold: its probe says that all is well, and it answers nobody."""
    environment = {"CASE": secrets.token_hex(4)}
    said = annotated(after_restore="http-post://:8000/again", ready="http://:8000/health")
    first = engine(pods, environment, said)
    assert capture_of(agent, first.pod)["result"] == "captured"
    second = engine(pods, environment, said)
    assert second.ended(WAKES_WITHIN_S).exit_code == 128 + 9
    (found,) = hooks_after_restore(agent, second)
    assert (found["result"], found["tries"]) == ("failed", hooks.TRIES)
    again = second.pod.container(env=environment, command=ENGINE, attempt=1)
    again.start()
    assert outcome(agent, again) == "cold:container-restart"


@pytest.fixture
def serving(agent: Node, pods: Pods) -> Iterator[Container]:
    """A container that serves."""
    container = pods.run(name="serving", handler="runc").container(command=ENGINE, env={"SLOW_S": "0"})
    container.start()
    wait_until(
        lambda: b"listens" in " ".join(line.text for line in container.log()).encode(), 20, "its first line"
    )
    container.exec("touch", "/run/ready")
    container.exec("ln", "-s", "/proc/1/root/run/ready", "/run/magic")
    yield container


def test_ready_is_what_its_pod_says(serving: Container, agent: Node) -> None:
    network = f"/proc/{serving.pid}/ns/net"
    log = f"{serving.pod.spec.log_directory}/{serving.spec.log_path}"
    running = Running(serving.id, serving.pid, network, log)
    for text, expected in {
        "http://:8000/health": True,
        "http://:8000/generate": True,
        "http://:8000/nowhere": False,
        "http://:8000/moved": False,
        "http://:8001/health": False,
        "tcp://:8000": True,
        "tcp://:8001": False,
        "exec:test -e /run/ready": True,
        "exec:false": False,
        "exec:/no/such/program": False,
        "file:/run/ready": True,
        "file:/run/unready": False,
        "file:/run/magic": False,
        "log:^the engine listens$": True,
        "log:^listens": False,
        "after:1ms": True,
        "after:1h": False,
    }.items():
        ask = ready.question(policy.ready(text), running, serving.pod.cri, time.monotonic() - 1, "default")
        if expected:  # the agent, too, has it looked up again where nobody could say in time
            wait_until(lambda ask=ask: ask(time.monotonic() + 60), 60, text)  # type: ignore[misc]
        else:
            assert ask(time.monotonic() + 60) is False, text


def test_a_pod_in_the_hosts_network_is_not_queried_over_it(agent: Node, pods: Pods) -> None:
    pod = pods.run(name="host", namespaces=Namespaces(network="node"), handler="runc")
    container = pod.container(command=("sleep", "600"))
    container.start()
    for network in ("", f"/proc/{container.pid}/ns/net", "/proc/self/ns/net"):
        running = Running(container.id, container.pid, network, "")
        for text in ("http://:8000/health", "tcp://:8000"):
            with pytest.raises(GlowplugError, match="hostNetwork"):
                ready.question(policy.ready(text), running, pod.cri, 0.0, "default")(time.monotonic() + 60)
