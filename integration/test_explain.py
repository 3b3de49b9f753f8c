"""Why a pod started as it did is shown by one command, and no secret is shown."""

import base64
import json
import os
import stat
import subprocess
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from glowplug import paths
from glowplug.containerd.client import Containerd
from glowplug.outcomes import ask
from integration.captured import Captured, capture, captured, outcome
from integration.cri_specs import Mount, Resources
from integration.limits import needs_limits
from integration.node import GLOWPLUG, Node
from integration.pods import Container, Pods
from integration.waiting import wait_until

NAMESPACE = "explained"
SECRET = "hunter2-" + uuid.uuid4().hex
ENV = {"MODEL": "llama-3", "API_KEY": "the captured one"}


def glowplug(node: Node, *arguments: str, status: int = 0) -> str:
    """Standard output of a command that ends with this status, as a person would run it."""
    command = [GLOWPLUG, *arguments, "--config", node.names.config]
    done = subprocess.run(command, env=node.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def explained(node: Node, *arguments: str) -> dict[str, Any]:
    """The one container that `explain --json` reports."""
    found: list[dict[str, Any]] = json.loads(glowplug(node, "explain", "--json", *arguments))["containers"]
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def web(node: Node) -> Iterator[Captured]:
    """A checkpoint of the pod web."""
    node.ensure_agent()
    pods = Pods(node)
    yield captured(node, pods, name="web", pod_fields={"namespace": NAMESPACE}, env=ENV)
    pods.remove_all()


# -- what happened --


def test_a_cold_start_is_explained(agent: Node, pods: Pods) -> None:
    pods.run(name="first", namespace="nothing-here").serving()
    found = explained(agent, "-n", "nothing-here", "first")
    assert (found["state"], found["start"]["outcome"]) == ("running", "cold:no-checkpoint")
    assert found["verdict"]["candidates"] == []


def test_a_restore_is_explained_with_the_time_of_each_phase(agent: Node, web: Captured, pods: Pods) -> None:
    _, container = web.again(pods)
    container.start()
    assert web.is_in(container)
    found = explained(agent, "-n", NAMESPACE, "web", "main")
    assert (found["id"], found["start"]["outcome"]) == (container.id, "restored")
    assert found["start"]["checkpoint"] == web.checkpoint
    assert {"resolve", "layer", "criu"} <= found["start"]["phases"].keys()
    assert sum(found["start"]["phases"].values()) <= found["start"]["total_s"]
    text = glowplug(agent, "explain", "-n", NAMESPACE, "web")
    assert web.checkpoint[:12] in text
    assert "criu" in text


def test_a_start_without_an_agent_is_explained_without_one(agent: Node, web: Captured, pods: Pods) -> None:
    agent.stop_agent()
    _, container = web.again(pods)
    container.start()
    container.serves()
    found = explained(agent, "-n", NAMESPACE, "web")
    assert found["start"]["outcome"] == "cold:no-agent"
    assert found["verdict"]["chosen"] == web.checkpoint
    assert "cold:no-agent" in glowplug(agent, "history", "-n", NAMESPACE, "web")
    assert "no-agent" in glowplug(agent, "status", status=1)


def test_a_container_that_has_ended_is_explained_until_it_is_removed_and_then_from_history(
    agent: Node, web: Captured, pods: Pods
) -> None:
    pod, container = web.again(pods)
    container.start()
    container.stop()
    found = explained(agent, "-n", NAMESPACE, "web")
    assert (found["id"], found["start"]["outcome"]) == (container.id, "restored")
    assert found["verdict"]["chosen"] == web.checkpoint
    pod.remove()
    found = explained(agent, "-n", NAMESPACE, "web")
    assert (found["state"], found["start"]["outcome"], found["verdict"]) == ("gone", "restored", None)
    assert found["start"]["ran_s"] > 0


# -- the verdict --


def test_another_value_is_reported_and_not_shown(agent: Node, web: Captured, pods: Pods) -> None:
    pods.run(name="other", namespace=NAMESPACE).serving(
        {**web.fields["env"], "API_KEY": SECRET, "NEW": SECRET}
    )
    verdict = explained(agent, "-n", NAMESPACE, "other")["verdict"]
    only = next(one for one in verdict["candidates"] if one["checkpoint"] == web.checkpoint)
    assert [(one["part"], one["needs"], one["has"]) for one in only["reasons"]] == [
        ("env API_KEY", "the captured value", "another value"),
        ("env NEW", "nothing", "another value"),
    ]
    assert "env API_KEY" in glowplug(agent, "explain", "-n", NAMESPACE, "other")


@needs_limits
def test_a_smaller_limit_is_reported_with_both_values(agent: Node, web: Captured, pods: Pods) -> None:
    pod = pods.run(name="small", namespace=NAMESPACE)
    container = pod.serving(web.fields["env"], resources=Resources(memory_bytes=256 << 20))
    assert outcome(agent, container) == "cold:memory-limit"
    found = explained(agent, "-n", NAMESPACE, "small")
    reasons = found["verdict"]["candidates"][0]["reasons"]
    assert [(one["part"], one["has"]) for one in reasons] == [("memory limit in bytes", str(256 << 20))]
    assert found["start"]["detail"] == found["verdict"]["why"]


def test_another_namespace_s_checkpoints_are_never_reported(agent: Node, web: Captured, pods: Pods) -> None:
    pods.run(name="outsider", namespace="elsewhere").serving(web.fields["env"])
    for form in ([], ["--json"], ["--all"]):
        text = glowplug(agent, "explain", "-n", "elsewhere", *form, "outsider")
        assert web.checkpoint[:12] not in text
        assert NAMESPACE not in text


def test_a_bundle_is_reported_what_the_agent_would_answer(
    agent: Node, web: Captured, pods: Pods, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As it was made, and as it is there after a cold start, which has edited it (docs/edits.md)."""
    monkeypatch.setattr(paths, "RUN_DIR", agent.names.run_dir)
    for model, matches in (("llama-3", True), ("another", False)):
        pod = pods.run(name=f"{model}-queried", namespace=NAMESPACE)
        container = pod.container(env={**web.fields["env"], "MODEL": model})
        agent.stop_agent()
        container.start()
        agent.ensure_agent()
        started = f"{agent.names.state}/state/io.containerd.runtime.v2.task/k8s.io/{container.id}"
        made = tmp_path / model
        made.mkdir()
        with Containerd(agent.names.socket) as containerd:
            (made / "config.json").write_text(json.dumps(containerd.container(container.id).spec))
        answer = wait_until(partial(_answer, container, str(made)), 10, "an answer of the agent")
        assert answer is not None
        for spec in (str(made), started, f"{started}/config.json"):
            found = json.loads(glowplug(agent, "explain", "--json", "--spec", spec))
            assert found["chosen"] == answer.get("checkpoint") == (web.checkpoint if matches else None)


def _answer(container: Container, bundle: str) -> dict[str, object] | None:
    """The agent's, once it listens."""
    try:
        return ask.ask({"op": "resolve", "container": container.id, "bundle": bundle}, 10)
    except ask.NoAnswer:
        return None


# -- secrets --


def test_a_planted_secret_is_found_nowhere_but_in_the_process_s_own_memory_and_files(
    agent: Node, pods: Pods
) -> None:
    """In env, args and a mounted file; through cold start, capture, restore, mismatch, and every command."""
    namespace = "secretive"
    captured_as: str | None = None
    outcomes = []
    for name, secret in (("holder", SECRET), ("holder", SECRET), ("differs", SECRET + "-2")):
        uid = str(uuid.uuid4())
        pod = pods.run(name=name, namespace=namespace, uid=uid)
        container = pod.container(
            env={"API_KEY": secret, "URL": f"http://user:{secret}@10.0.0.1/"},
            args=(f"--password={secret}", secret),
            mounts=(
                Mount(container_path="/etc/secret", host_path=_volume(agent, uid, secret), readonly=True),
            ),
        )
        container.start()
        container.serves()
        outcomes.append(outcome(agent, container))
        if captured_as is None:
            done = capture(agent, namespace, name)
            assert done.returncode == 0, done.stderr
            captured_as = str(json.loads(done.stdout)["checkpoint"])
            assert SECRET not in done.stdout + done.stderr
            pod.remove()
    assert outcomes == ["cold:no-checkpoint", "restored", "cold:no-checkpoint"]
    assert captured_as is not None

    shown = [
        glowplug(agent, *command, *form)
        for form in ([], ["--json"])
        for command in (
            ["explain", "-n", namespace, "holder"],
            ["explain", "-n", namespace, "differs"],
            ["inspect", captured_as],
            ["list"],
            ["history"],
            ["verify", captured_as],
            ["status"],
        )
    ]
    assert "env API_KEY" in shown[1]
    assert "mount /etc/secret" in shown[1]
    assert [text for text in shown if _holds(text.encode())] == []

    # A cold start's spec stays with its prepared answer until its outcome is taken in.
    wait_until(
        lambda: _files_with_it(agent, captured_as)[1] == [], 30, "no file but the checkpoint's holds it"
    )
    own, _ = _files_with_it(agent, captured_as)
    # The search can find it: the process has it in its memory.
    assert any("/images/pages-" in path or "/memory/" in path for path in own)


def _volume(node: Node, uid: str, secret: str) -> str:
    """A Secret as the kubelet lays it out for a pod of that uid."""
    path = f"{node.names.state}/kubelet/pods/{uid}/volumes/kubernetes.io~secret/key"
    os.makedirs(path)
    with open(f"{path}/password", "w") as file:
        file.write(secret)
    return path


def _files_with_it(node: Node, checkpoint: str) -> tuple[list[str], list[str]]:
    """Files with the secret: the checkpoint's memory and the container's own files; all others.

    Searched are the cache, the run directory, and the logs of agent and containerd.
    """
    own: list[str] = []
    others: list[str] = []
    names = node.names
    logs = [f"{names.state}/agent.log", f"{names.state}/containerd.log"]
    memory = tuple(
        f"{names.cache}/checkpoints/{checkpoint}/{part}"
        for part in ("images/pages-", "memory/", "layer/tree/")
    )
    for path in [*logs, *_files(names.cache), *_files(names.run_dir)]:
        with open(path, "rb") as file:
            if _holds(file.read()):
                (own if path.startswith(memory) else others).append(path)
    return own, others


def _files(directory: str) -> Iterator[str]:
    for below, _, found in os.walk(directory):
        for name in found:
            path = f"{below}/{name}"
            if stat.S_ISREG(os.lstat(path).st_mode):
                yield path


def _holds(data: bytes) -> bool:
    plain = SECRET.encode()
    # base64 of a text depends on where in three bytes it begins: what is alike in all places is searched for.
    encoded = [base64.b64encode(b"\0" * shift + plain)[4:-4] for shift in range(3)]
    return any(form in data for form in (plain, plain.hex().encode(), *encoded))
