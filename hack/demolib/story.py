"""The demo's story: a pod starts cold, is captured, removed, and starts again from the same pod spec."""

import dataclasses
import http.client
import json
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from typing import Any

from hack.demolib import child
from hack.demolib.figures import Figures, Start, cold_phases, restore_phases
from hack.demolib.image import IMAGE, PORT, SOURCES
from integration.node import GLOWPLUG, Node
from integration.pods import Container, Pod

from glowplug.cli.phases import in_order
from integration.cri_specs import PodSpec

HANDLER = "glowplug"
NAMESPACE = "demo"
POD = "reader"
CONTAINER = "server"
QUESTION = f"{SOURCES}/question.png"
# The text of the picture.
ANSWER = ["Preheated engines start at once"]
# A cold start takes seconds on an idle machine; a busy one is waited for.
ANSWERS_WITHIN_S = 180.0
# What says to the agent, with --auto, which container to capture, and when: with its first question behind it.
ANNOTATIONS = {"glowplug.dev/containers": CONTAINER, "glowplug.dev/ready": "log:^answered in "}
CAPTURES_WITHIN_S = 120.0
ANSWER_WITHIN_S = 60.0
POLL_S = 0.005


class Broken(Exception):
    """The story can't continue. The message is one line for a person."""


def report(
    node: Node,
    say: Callable[[str, str], None],
    doing: Callable[[str], AbstractContextManager[object]],
    auto: bool,
) -> Figures:
    """Both starts on a node with the image imported and an agent running; the second pod runs on afterwards.

    `doing`: a context manager around a step that takes a while; `say`: what came of it. `auto`: nobody captures
    but the agent.
    """
    spec = PodSpec(
        name=POD,
        namespace=NAMESPACE,
        log_directory=f"{node.names.state}/logs",
        cgroup_parent=node.names.cgroup_parent,
        annotations=ANNOTATIONS if auto else {},
    )
    with doing("starts the pod cold"):
        pod, cold = _start(node, spec)
    say("cold start", f"{cold.seconds:.2f} s to the first answer: {' '.join(cold.answer)!r}")
    with doing("waits for the agent to capture the pod" if auto else "captures the running pod"):
        captured = _captured_by_agent(node) if auto else _capture(node)
    size, pause_s = int(captured["bytes"]), float(captured["pause_s"])
    by = "by the agent: " if auto else ""
    say("capture", f"{by}checkpoint of {size / 1e6:.0f} MB, the pod was paused for {pause_s:.2f} s")
    with doing("removes the pod"):
        pod.remove()
    say("removal", "the pod is gone, its network and its files with it")
    with doing("starts the pod again"):
        # As a kubelet would for a new replica: the same spec, and a uid of its own.
        _, restore = _start(node, dataclasses.replace(spec, uid=str(uuid.uuid4())))
    say("second start", f"{restore.seconds:.2f} s to the first answer: {' '.join(restore.answer)!r}")
    return Figures(cold, restore, size, "agent" if auto else "command")


def _start(node: Node, spec: PodSpec) -> tuple[Pod, Start]:
    pod = Pod(node.cri, spec, HANDLER)
    container = pod.container(CONTAINER, image=IMAGE)
    wall = time.time()
    began = time.monotonic()
    container.start()
    started_s = time.monotonic() - began
    sent_s, answer = _first_answer(container, began)
    answered_s = time.monotonic() - began
    record = _outcome(node, container.id)
    token = str(_query(pod.ip, "GET", "/token")["token"])
    outcome = str(record["outcome"])
    if outcome == "restored":
        # The record is written when `create` is done.
        runtime_s = float(record["total_s"])
        phases = restore_phases(
            started_s, answered_s, float(record["time"]) - wall - runtime_s, runtime_s, _steps(record)
        )
    else:
        server = _query(pod.ip, "GET", "/healthz")["startup_s"]
        phases = cold_phases(started_s, sent_s, answered_s, server)
    return pod, Start(answered_s, answer, token, outcome, str(record.get("detail") or ""), phases)


def _steps(record: Mapping[str, Any]) -> dict[str, float]:
    """Seconds of each step, in the order in which they are taken."""
    taken: dict[str, float] = record.get("phases") or {}
    return {name: taken[name] for name in in_order(taken)}


def _first_answer(container: Container, began: float) -> tuple[float, list[str]]:
    """When the question that got the answer was sent, in seconds from `began`, and the answer.

    Queried over the pod's own IP from the first moment on. Raises Broken for a wrong answer.
    """
    with open(QUESTION, "rb") as file:
        question = file.read()
    for _ in _until(ANSWERS_WITHIN_S, container):
        sent_s = time.monotonic() - began
        try:
            answer = _query(container.pod.ip, "POST", "/ask", question)["text"]
        except OSError:
            continue  # nobody listens yet
        if answer != ANSWER:
            raise Broken(f"expected the answer {ANSWER!r}, the server read {answer!r}")
        return sent_s, answer
    raise AssertionError("a loop that ends by raising")


def _until(deadline_s: float, container: Container) -> Iterator[None]:
    """Tries, until the deadline. Raises Broken then, and when the container ended."""
    until = time.monotonic() + deadline_s
    tries = 0
    while time.monotonic() < until:
        yield
        time.sleep(POLL_S)
        tries += 1
        if tries % 100 == 0 and container.status().state == "exited":
            raise Broken(f"expected the server to run, it ended: {_last_line(container)}")
    raise Broken(
        f"expected an answer within {deadline_s:g} s, the server's last line: {_last_line(container)}"
    )


def _last_line(container: Container) -> str:
    lines = [line.text for line in container.log() if line.text.strip()]
    return lines[-1] if lines else "(none)"


def _query(ip: str, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
    """The server's answer. Raises OSError while it does not listen, Broken for another status than 200."""
    connection = http.client.HTTPConnection(ip, PORT, timeout=ANSWER_WITHIN_S)
    with closing(connection):
        connection.request(method, path, body)
        answer = connection.getresponse()
        text = answer.read()
    if answer.status != http.HTTPStatus.OK:
        raise Broken(f"{path}: expected status 200, the server said {answer.status}: {text[:200]!r}")
    found: dict[str, Any] = json.loads(text)
    return found


def _capture(node: Node) -> dict[str, Any]:
    """What `glowplug capture --json` says. Raises child.Failed."""
    command = [GLOWPLUG, "capture", "--namespace", NAMESPACE, POD, "--json", "--config", node.names.config]
    found: dict[str, Any] = json.loads(child.output(command, node.env))
    return found


def _captured_by_agent(node: Node) -> dict[str, Any]:
    """What the agent recorded of its capture, once it did. Raises Broken."""
    until = time.monotonic() + CAPTURES_WITHIN_S
    while time.monotonic() < until:
        for record in _records(node, None):
            if record.get("event") == "capture":
                if record.get("result") != "captured":
                    raise Broken(f"expected the agent to capture the pod, it did not: {record.get('detail')}")
                return record
        time.sleep(0.1)
    raise Broken(f"expected the agent to capture the pod within {CAPTURES_WITHIN_S:g} s, got no capture")


def _outcome(node: Node, container: str) -> dict[str, Any]:
    """The outcome record of a start, from the agent. Raises Broken when there is none."""
    for record in reversed(_records(node, container)):
        if "outcome" in record:
            return dict(record)
    raise Broken(f"expected an outcome of the start of {container[:12]}, the agent has none")


def _records(node: Node, container: str | None) -> list[dict[str, Any]]:
    """The agent's history, or of one container, the oldest first."""
    with socket.socket(socket.AF_UNIX) as agent:
        agent.settimeout(ANSWER_WITHIN_S)
        agent.connect(node.agent_socket)
        agent.sendall(json.dumps({"op": "history", "container": container}).encode() + b"\n")
        with agent.makefile() as answer:
            found: list[dict[str, Any]] = json.loads(answer.readline()).get("records", [])
    return found
