"""Any process killed at any moment: the container runs, and nothing is left."""

import os
import random
import signal
import subprocess
import threading

import pytest

from glowplug.errors import ContainerdError
from integration import processes
from integration.captured import Captured, capture, outcome
from integration.failures.made import starts_cold
from integration.faults import Faults
from integration.node import GLOWPLUG, Node
from integration.pods import Container, Pods
from integration.waiting import wait_until

STAGES = [
    "pre-restore",
    "setup-namespaces",
    "post-setup-namespaces",
    "post-restore",
    "pre-resume",
    "post-resume",
]
LET_GO = ("pre-resume", "post-resume")
"""Our gate's script runs before the one of these tests: the tree was checked and let go, and CRIU continues
without runc. Nothing that runs is killed then."""


@pytest.mark.parametrize("victim", ["criu", "runc"])
@pytest.mark.parametrize("stage", STAGES)
def test_criu_or_runc_is_killed(
    node: Node, faults: Faults, good: Captured, pods: Pods, stage: str, victim: str
) -> None:
    with faults.set("action", stage, victim):
        if victim == "runc" and stage in LET_GO:
            _, container = good.again(pods)
            container.start()
            assert (outcome(node, container), good.is_in(container)) == ("restored", True)
        else:
            assert starts_cold(node, pods, good)[1] == "fallback:criu"


@pytest.mark.parametrize("stage", ["setup-namespaces", "post-restore"])
def test_criu_hangs_with_half_a_tree(
    node: Node, faults: Faults, good: Captured, pods: Pods, stage: str
) -> None:
    with faults.set("action", stage, "hang"):
        assert starts_cold(node, pods, good)[1] == "fallback:deadline"


@pytest.mark.parametrize("turn", range(6))
def test_a_kill_at_a_random_moment(node: Node, good: Captured, pods: Pods, turn: int) -> None:
    """Either of runc and CRIU, as it is there at that moment. A kill that came too late leaves a restored container."""
    chance = random.Random(turn)
    _, container = good.again(pods)
    starter = threading.Thread(target=container.start)
    starter.start()
    names = ["criu", "runc"]
    victim = chance.choice(names)
    delay = threading.Event()

    def kill() -> None:
        wait_until(lambda: not starter.is_alive() or _pids(node, victim), 10, "a victim or the end")
        delay.wait(chance.random() * 0.15)
        for pid in _pids(node, victim):
            with_ignored_kill(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    starter.join()
    killer.join()
    container.serves()
    assert good.is_in(container) == (outcome(node, container) == "restored")


def _pids(node: Node, name: str) -> list[int]:
    """Processes of that name on behalf of this node's containers."""
    return [
        pid for pid in processes.pids_naming(node.names.state) if processes.name(pid).split()[-1:] == [name]
    ]


def with_ignored_kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@pytest.mark.parametrize("stage", ["setup-namespaces", "post-restore"])
def test_the_runtime_is_killed_and_the_next_create_succeeds(
    node: Node, faults: Faults, good: Captured, pods: Pods, stage: str
) -> None:
    """As containerd does when its deadline is over: the script goes first, and all at once."""
    pod, container = good.again(pods)
    failed: list[Exception] = []

    def start() -> None:
        try:
            container.start()
        except ContainerdError as error:
            failed.append(error)

    with faults.set("action", stage, "hang"):
        starter = threading.Thread(target=start)
        starter.start()
        wait_until(lambda: faults.is_there, 10, "CRIU at that stage")
        for pid in _runtimes(container.id):
            with_ignored_kill(pid)
        starter.join()
    assert failed
    again = pod.container(**good.fields, name="main", attempt=1)
    again.start()
    again.serves()
    assert outcome(node, again).partition(":")[0] in ("cold", "restored")


@pytest.mark.parametrize("stage", ["setup-namespaces", "post-restore"])
def test_the_runtime_s_python_is_killed_and_the_same_create_succeeds(
    node: Node, faults: Faults, good: Captured, pods: Pods, stage: str
) -> None:
    """By the OOM killer, say: the script survives, takes back what was done, and runs runc."""
    _, container = good.again(pods)
    with faults.set("action", stage, "hang"):
        starter = threading.Thread(target=container.start)
        starter.start()
        wait_until(lambda: faults.is_there, 10, "CRIU at that stage")
        for pid in _runtimes(container.id):
            if any(word.endswith("/runtime/main.py") for word in processes.command_line(pid)):
                with_ignored_kill(pid)
        starter.join()
    assert not good.is_in(container)
    assert outcome(node, container) == "fallback:killed"


def _runtimes(container: str) -> list[int]:
    """The script and its Python that create this container."""
    return [
        pid
        for pid in processes.pids_naming(container)
        if any(
            word.endswith(("glowplug-runtime", "/runtime/main.py")) for word in processes.command_line(pid)
        )
    ]


def test_a_restored_container_that_exits_is_not_restored_again(
    node: Node, good: Captured, pods: Pods
) -> None:
    """A bad checkpoint must not loop: the next attempt in the same pod is cold."""
    pod, container = good.again(pods)
    container.start()
    assert good.is_in(container)
    container.stop()
    again = pod.container(**good.fields, name="main", attempt=1)
    again.start()
    assert not good.is_in(again)
    assert outcome(node, again) == "cold:container-restart"


def test_a_capture_that_fails_leaves_the_container_running(
    node: Node, faults: Faults, good: Captured, pods: Pods
) -> None:
    pod = pods.run(name="other")
    container = pod.serving()
    before = container.state()
    with faults.set("fail"):
        done = capture(node, "default", "other")
    assert done.returncode == 1
    assert done.stderr.startswith("glowplug: the container can't be dumped: ")
    assert done.stderr.count("\n") == 1
    assert container.state()["token"] == before["token"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_capture_that_is_ended_leaves_the_container_running(
    node: Node, faults: Faults, good: Captured, pods: Pods, number: signal.Signals
) -> None:
    """While the container is frozen and CRIU runs."""
    pod = pods.run(name="other")
    container = pod.serving()
    before = container.state()
    checkpoints = os.listdir(f"{node.names.cache}/checkpoints")
    command = [GLOWPLUG, "capture", "--config", node.names.config, "--namespace", "default", "other"]
    with faults.set("action", "post-dump", "wait"):
        # A shell that starts the tests in the background has them ignore SIGINT, and so would the capture.
        command = ["env", "--default-signal=INT", *command]
        running = subprocess.Popen(command, env=node.env, stdout=subprocess.DEVNULL, stderr=None)
        wait_until(lambda: faults.is_there, 20, "CRIU at the end of its dump")
        assert _is_paused(container)
        running.send_signal(number)
        if number == signal.SIGKILL:
            running.wait(60)
        faults.release()
        assert running.wait(60) != 0
        wait_until(lambda: not _is_paused(container), 20, "the container thawed")
    assert container.state()["token"] == before["token"]
    assert os.listdir(f"{node.names.cache}/checkpoints") == checkpoints
    # and it can be captured now
    assert capture(node, "default", "other").returncode == 0


def _is_paused(container: Container) -> bool:
    """Frozen (shown as uninterruptible on cgroup v1), or stopped by CRIU's ptrace."""
    with open(f"/proc/{container.pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] in "DtT"
