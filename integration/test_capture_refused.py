"""What `glowplug capture` will not do: one clear line, exit status 2, and nothing touched."""

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from integration.captured import capture
from integration.cri_specs import Mount
from integration.kubelet import PodDirectory
from integration.node import GLOWPLUG, Node
from integration.node_config import runc_program
from integration.pods import Container, Pods

IDLE = ("sh", "-c", "trap exit TERM; while :; do sleep 1; done")


def glowplug(node: Node, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [GLOWPLUG, *arguments]
    return subprocess.run(command, env=node.env, capture_output=True, text=True, timeout=60)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """Its line, without the program's name."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.startswith("glowplug: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("glowplug: ").strip()


@contextmanager
def untouched(node: Node, container: Container) -> Iterator[None]:
    """The same process runs before and after, thawed, and the cache is as it was."""
    pid, listed = container.pid, os.listdir(f"{node.names.cache}/checkpoints")
    yield
    assert container.pid == pid
    assert container.exec("true").exit_code == 0
    assert os.listdir(f"{node.names.cache}/checkpoints") == listed
    assert os.listdir(f"{node.names.cache}/drafts") == []


@pytest.fixture
def idle(agent: Node, pods: Pods) -> Container:
    container = pods.run(name="idle").container(command=IDLE)
    container.start()
    return container


def test_a_pod_that_is_not_there(agent: Node) -> None:
    said = refused(capture(agent, "default", "nobody"))
    assert said == "default/nobody: no such container runs on this node; see `crictl ps`"


@pytest.mark.parametrize(
    ("namespace", "arguments"), [("elsewhere", ("idle",)), ("default", ("idle", "other"))]
)
def test_a_container_that_is_not_there(
    agent: Node, idle: Container, namespace: str, arguments: tuple[str, ...]
) -> None:
    with untouched(agent, idle):
        said = refused(capture(agent, namespace, *arguments))
    assert said.startswith(f"{'/'.join((namespace, *arguments))}: no such container runs on this node")


def test_a_pod_of_several_wants_a_name(agent: Node, idle: Container) -> None:
    other = idle.pod.container("other", command=IDLE)
    other.start()
    with untouched(agent, idle), untouched(agent, other):
        said = refused(capture(agent, "default", "idle"))
    assert said == "expected one container, got 2 in pod idle (main, other): name one"


def test_a_container_that_has_ended(agent: Node, idle: Container) -> None:
    idle.stop()
    assert "default/idle: no such container runs" in refused(capture(agent, "default", "idle"))


def test_a_container_that_was_not_started(agent: Node, pods: Pods) -> None:
    pods.run(name="waits").container(command=IDLE)
    assert "default/waits: no such container runs" in refused(capture(agent, "default", "waits"))


def test_a_container_that_somebody_paused(agent: Node, idle: Container) -> None:
    runc = [runc_program(), "--root", f"{agent.names.runc_root}/k8s.io"]
    subprocess.run([*runc, "pause", idle.id], check=True)
    try:
        refused(capture(agent, "default", "idle"))
        state = subprocess.run([*runc, "state", idle.id], capture_output=True, text=True, check=True).stdout
        assert '"paused"' in state
    finally:
        subprocess.run([*runc, "resume", idle.id], check=True)


def test_a_container_that_is_being_captured(agent: Node, idle: Container) -> None:
    os.makedirs(f"{agent.names.run_dir}/captures", exist_ok=True)
    with open(f"{agent.names.run_dir}/captures/{idle.id}", "w") as lock, untouched(agent, idle):
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "a capture of it is under way" in refused(capture(agent, "default", "idle"))
    os.unlink(f"{agent.names.run_dir}/captures/{idle.id}")


def holding(agent: Node, pods: Pods, mounts: tuple[Mount, ...], path: str) -> Container:
    return pods.run(name="holds").serving({"WORKLOAD": "open_file", "WORKLOAD_FILE": path}, mounts=mounts)


def test_a_file_open_for_writing_on_a_volume_that_does_not_travel(agent: Node, pods: Pods) -> None:
    """The file would continue being another's to change."""
    shared = f"{agent.names.state}/shared"
    os.makedirs(shared, exist_ok=True)
    mounts = (Mount(container_path="/shared", host_path=shared),)
    container = holding(agent, pods, mounts, "/shared/journal")
    with untouched(agent, container):
        said = refused(capture(agent, "default", "holds"))
    assert "/shared/journal is open for writing on the volume /shared" in said
    assert said.endswith("close it first")


def test_a_file_open_for_writing_on_a_volume_that_travels_is_fine(agent: Node, pods: Pods) -> None:
    pod = pods.run(name="holds-scratch")
    mounts = (PodDirectory(agent, pod.spec.uid).empty_dir("scratch", "/scratch"),)
    pod.serving({"WORKLOAD": "open_file", "WORKLOAD_FILE": "/scratch/journal"}, mounts=mounts)
    assert capture(agent, "default", "holds-scratch").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("capture", "pod"), "--namespace"),
        (("capture", "--namespace", "default"), "POD"),
        (("capture", "--namespace", "default", "a", "b", "c"), "c"),
        (("capture", "--namespace", "default", "--sotp", "pod"), "--sotp"),
        (("capture", "--namespace", "default", "--config", "/nowhere.toml", "pod"), "/nowhere.toml"),
        (("captrue",), "captrue"),
    ],
)
def test_words_that_make_no_command(agent: Node, arguments: tuple[str, ...], said: str) -> None:
    assert said in refused(glowplug(agent, *arguments))


def test_nobody_but_root_captures(agent: Node) -> None:
    """It reads the memory of a process."""
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", GLOWPLUG, "capture"]
    command += ["--namespace", "default", "pod"]
    done = subprocess.run(command, env=agent.env, capture_output=True, text=True, timeout=60)
    assert "root" in refused(done)


def test_a_checkpoint_that_does_not_fit_is_refused_with_numbers(agent: Node, idle: Container) -> None:
    agent.write_settings({"min_free_bytes": 1 << 60})
    try:
        with untouched(agent, idle):
            done = capture(agent, "default", "idle")
    finally:
        agent.write_settings({})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert sum(word.strip(",;:.").isdigit() for word in done.stderr.split()) >= 2, done.stderr
