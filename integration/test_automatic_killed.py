"""An agent and the process that captures for it, killed at each step of a capture.

Whatever is killed, the container serves on, the hook after the capture runs, and the next agent captures
after all: no pod loses its start.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest

from glowplug import config
from glowplug.agent.captures.children import Children
from glowplug.agent.captures.running import Running
from glowplug.agent.captures.task import Task
from glowplug.capture.request import Request
from glowplug.host import cgroup, process
from integration.captured import outcome
from integration.node import Node
from integration.pods import Container, Pods
from integration.processes import command_line, is_alive, pids_naming
from integration.test_automatic import annotated, capture_of, captures, env, started
from integration.waiting import wait_until

STEPS = ("before-capture", "find", "space", "freeze", "rewrite", "publish")
BEFORE, AFTER = "/data/before", "/data/after"
WITHIN_S = 120.0


def journal(node: Node, container: Container) -> dict[str, Any]:
    """Of the capture under way; empty where there is none."""
    try:
        with open(f"{node.names.run_dir}/capturing/{container.id}/journal.json") as file:
            found: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return {}
    return found


def capturing(node: Node) -> int:
    """The pid of the agent's process that captures."""
    assert node.agent_pid
    found = [
        pid
        for pid in process.children(node.agent_pid)
        if "glowplug.agent.captures.worker" in command_line(pid)
    ]
    assert len(found) == 1, found
    return found[0]


Entry = tuple[str, int, int]
"""A step, and which file of the journal says so."""
NONE: Entry = ("", 0, 0)


def entry(node: Node, container: Container) -> Entry:
    """The journal's; NONE where there is no journal."""
    try:
        with open(f"{node.names.run_dir}/capturing/{container.id}/journal.json") as file:
            status = os.fstat(file.fileno())
            return str(json.load(file)["step"]), status.st_ino, status.st_mtime_ns
    except FileNotFoundError:
        return NONE


@contextlib.contextmanager
def ahead_of_others() -> Iterator[None]:
    """This thread runs as soon as it can: a step of milliseconds is not over before a busy machine has it look."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def kill_both_at(step: str, node: Node, container: Container, left: Entry) -> Entry:
    """The agent and its capture, once it is in this step; the journal's last entry, which stays until the next agent
    takes it. `left`: that of the capture before, of which the agent may not have taken note yet."""
    until = time.monotonic() + WITHIN_S
    with ahead_of_others():
        while (found := entry(node, container))[0] != step or found == left:
            assert time.monotonic() < until, f"the capture never came to {step}: {found}"
            time.sleep(0.0005)
        child = capturing(node)
        os.kill(child, signal.SIGSTOP)
    died_in = entry(node, container)
    node.kill_agent_with(child)
    return died_in


def lines(container: Container, path: str) -> int:
    return container.exec("cat", path).stdout.count(b"\n")


def is_frozen(container: Container) -> bool:
    """By its cgroup: that it gives no answer for a while could be a busy machine's doing."""
    with open(f"/proc/{container.pid}/cgroup") as listed:
        below = {
            controllers: path for _, controllers, path in (line.strip().split(":", 2) for line in listed)
        }
    if cgroup.version() == 1:
        (mount,) = [mount for mount in cgroup.mountpoints() if mount.endswith("/freezer")]
        with open(f"{mount}{below['freezer']}/freezer.state") as file:
            return file.read() != "THAWED\n"
    with open(f"/sys/fs/cgroup{below['']}/cgroup.events") as file:
        return "frozen 1" in file.read()


def is_thawed(container: Container) -> bool:
    return not is_frozen(container)


@pytest.fixture
def hooked(agent: Node, pods: Pods) -> Container:
    """A container that is about to be captured by the next agent, with hooks that leave a line each."""
    agent.stop_agent()
    said = annotated(
        before_capture=f"exec:sh -c 'echo x >>{BEFORE}; sleep 0.3'",
        after_capture=f"exec:sh -c 'echo x >>{AFTER}'",
    )
    return started(pods, env(WORKLOAD_MEMORY_MB="64"), said)


def test_killed_at_each_step(hooked: Container, node: Node, pods: Pods) -> None:
    hooked.serves()
    died_in, left = [], NONE
    for step in STEPS:
        node.start_agent()
        left = kill_both_at(step, node, hooked, left)
        died_in.append(left[0])
        wait_until(lambda: is_thawed(hooked), WITHIN_S, f"the thaw after a death in {step}")
        hooked.serves()
    assert {"before-capture", "freeze"} <= set(died_in)
    assert captures(node, hooked.pod) == []
    node.start_agent()
    assert capture_of(node, hooked.pod)["result"] == "captured"
    wait_until(lambda: not journal(node, hooked), WITHIN_S, "the end of the capture")
    assert lines(hooked, AFTER) == len(STEPS) + 1
    again = started(pods, hooked.spec.env, hooked.pod.spec.annotations)
    assert outcome(node, again) == "restored"
    listed = os.listdir(node.names.run_dir)
    assert not [name for name in listed if name.startswith("capture-")]
    assert os.listdir(f"{node.names.run_dir}/capturing") == os.listdir(f"{node.names.cache}/drafts") == []


def test_where_the_guard_was_killed_too_the_next_agent_thaws(hooked: Container, node: Node) -> None:
    """As when a service manager kills all processes of the agent's, whatever session they are in."""
    hooked.serves()
    node.start_agent()
    dump = f"{node.names.run_dir}/capture-{hooked.id}/dump.pid"
    with ahead_of_others():
        wait_until(lambda: os.path.exists(dump) and os.path.getsize(dump), WITHIN_S, "the dump")
        child = capturing(node)
        os.kill(child, signal.SIGSTOP)  # or it thaws while the guard is looked for
        guard = guards(hooked)
    assert guard
    node.kill_agent_with(*guard, child)
    with open(dump) as file:
        pid = int(file.read())
    wait_until(lambda: not is_alive(pid), WITHIN_S, "the end of the dump")
    assert is_frozen(hooked)
    node.start_agent()
    wait_until(lambda: is_thawed(hooked), WITHIN_S, "the thaw")
    hooked.serves()
    assert capture_of(node, hooked.pod)["result"] == "captured"


def guards(container: Container) -> list[int]:
    return [pid for pid in pids_naming(container.id) if "glowplug-guard" in command_line(pid)]


def test_an_agent_that_is_killed_alone_takes_no_capture_with_it(hooked: Container, node: Node) -> None:
    hooked.serves()
    node.start_agent()
    wait_until(lambda: journal(node, hooked).get("step") == "freeze", WITHIN_S, "the freeze")
    node.stop_agent(signal.SIGKILL)
    assert capture_of(node, hooked.pod)["result"] == "captured"
    wait_until(lambda: not journal(node, hooked), WITHIN_S, "the end of the capture")
    assert lines(hooked, BEFORE) == lines(hooked, AFTER) == 1


def test_an_agent_that_is_stopped_undoes_its_capture_or_finishes_it(hooked: Container, node: Node) -> None:
    hooked.serves()
    node.start_agent()
    wait_until(lambda: journal(node, hooked).get("step") == "freeze", WITHIN_S, "the freeze")
    node.stop_agent()
    assert journal(node, hooked) == {}
    assert not is_frozen(hooked)
    hooked.serves()
    assert lines(hooked, BEFORE) == lines(hooked, AFTER) == 1


def test_a_capture_that_begins_as_another_ends_makes_no_second_one(agent: Node, pods: Pods) -> None:
    """An agent looks for a checkpoint, and the process of one that was killed publishes it before ours has begun."""
    container = started(pods, env(), annotated())
    assert capture_of(agent, container.pod)["result"] == "captured"
    made = os.listdir(f"{agent.names.cache}/checkpoints")
    task = Task(
        config=config.load(agent.names.config),
        request=Request("default", container.pod.spec.name, "main", container_id=container.id),
        running=Running(container.id, container.pid, "", ""),
        runc_root=f"{agent.names.runc_root}/k8s.io",
        pod_uid=container.pod.spec.uid,
        before=None,
        after=None,
        hook_timeout_s=5.0,
        gpu=False,
        end=False,
    )
    with patch.dict(os.environ, agent.env):
        answer = Children().capture(task)
    assert answer is not None and answer["result"] == "not-needed", answer
    assert os.listdir(f"{agent.names.cache}/checkpoints") == made
    assert len(captures(agent, container.pod)) == 1
