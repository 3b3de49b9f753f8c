"""Volumes that tenants write to: matched by what is in them, and never a way to delay others."""

import os
import time

import pytest

from integration.captured import Captured, capture, captured, outcome
from integration.cri_specs import Mount
from integration.kubelet import PodDirectory
from integration.node import Node
from integration.pods import Container, Pod, Pods

MODEL = b"weights " * 300_000  # 2.4 MB: more than a ConfigMap may have


def by_init(agent: Node, pod: Pod, content: bytes = MODEL) -> tuple[Mount, ...]:
    """An emptyDir that an init container has filled."""
    mount = PodDirectory(agent, pod.spec.uid).empty_dir("model", "/model")
    with open(f"{mount.host_path}/weights", "wb") as file:
        file.write(content)
    return (mount,)


def start(before: Captured, mounts: tuple[Mount, ...], pod: Pod) -> Container:
    container = pod.container(**before.fields, mounts=mounts)
    container.start()
    container.serves()
    return container


def test_an_empty_dir_with_the_same_files_is_the_new_pod_s(agent: Node, pods: Pods) -> None:
    before = captured(agent, pods, mounts=lambda pod: by_init(agent, pod))
    _, container = before.restored(agent, pods)
    assert container.exec("sh", "-c", "wc -c </model/weights").stdout.strip() == str(len(MODEL)).encode()
    pod = pods.run()
    other = start(before, by_init(agent, pod, MODEL + b"!"), pod)
    assert outcome(agent, other) == "cold:no-checkpoint"


def test_one_that_was_written_to_since_is_not_captured(agent: Node, pods: Pods) -> None:
    pod = pods.run(name="mixed")
    container = pod.serving(mounts=by_init(agent, pod))
    container.exec("sh", "-c", "echo more >/model/more")
    refused = capture(agent, "default", "mixed")
    assert refused.returncode
    assert "/model" in refused.stderr


def test_a_subpath_of_an_empty_dir_travels(agent: Node, pods: Pods) -> None:
    def mounts(pod: Pod) -> tuple[Mount, ...]:
        return (PodDirectory(agent, pod.spec.uid).subpath_of_empty_dir("scratch", "main", "/var/run/app"),)

    def fill(container: Container) -> None:
        script = "echo kept >file; mkfifo fifo; python3 -c 'import socket; socket.socket(1).bind(\"s\")'"
        assert container.exec("sh", "-c", f"cd /var/run/app; {script}").exit_code == 0

    before = captured(agent, pods, mounts=mounts, before=fill)
    _, container = before.restored(agent, pods)
    assert container.exec("cat", "/var/run/app/file").stdout == b"kept\n"
    assert container.exec("test", "-p", "/var/run/app/fifo").exit_code == 0


def test_what_a_tenant_puts_into_a_volume_holds_up_nobody(agent: Node, pods: Pods) -> None:
    def hostile(pod: Pod) -> tuple[Mount, ...]:
        mount = PodDirectory(agent, pod.spec.uid).subpath("claim", "main", "/data")
        os.mkfifo(f"{mount.host_path}/fifo")
        os.symlink("/etc/shadow", f"{mount.host_path}/shadow")
        return (mount,)

    before = captured(agent, pods)
    pod = pods.run(name="hostile")
    container = pod.serving(mounts=hostile(pod))
    assert outcome(agent, container) == "cold:unknown-fact"
    refused = capture(agent, "default", "hostile")
    assert refused.returncode
    assert "mount /data" in refused.stderr and "fifo is a FIFO" in refused.stderr
    before.restored(agent, pods)


def test_a_volume_that_was_written_to_since_does_not_get_older_memory(agent: Node, pods: Pods) -> None:
    data = f"{agent.names.state}/data-{time.monotonic_ns()}"
    os.makedirs(data)
    mounts = (Mount(container_path="/data", host_path=data),)
    before = captured(
        agent,
        pods,
        mounts=lambda _: mounts,
        before=lambda one: one.exec("sh", "-c", "echo day 1 >/data/dump"),
    )
    _, container = before.restored(agent, pods)
    container.exec("sh", "-c", "echo day 30 >/data/dump")
    other = start(before, mounts, pods.run())
    assert outcome(agent, other) == "cold:volume-state"


def test_its_owner_s_word_goes_before(agent: Node, pods: Pods) -> None:
    data = f"{agent.names.state}/cache-{time.monotonic_ns()}"
    os.makedirs(data)
    mounts = (Mount(container_path="/data", host_path=data),)
    fields = {"annotations": {"glowplug.dev/volumes": "stateless"}}
    before = captured(agent, pods, mounts=lambda _: mounts, pod_fields=fields)
    with open(f"{data}/by another", "w") as file:
        file.write("later")
    before.restored(agent, pods)


@pytest.mark.parametrize("sysctl", ["kernel.shm_rmid_forced"])
def test_a_pod_with_other_sysctls_is_another_workload(agent: Node, pods: Pods, sysctl: str) -> None:
    before = captured(agent, pods, pod_fields={"sysctls": {sysctl: "1"}})
    container = start(before, (), pods.run())
    assert outcome(agent, container) == "cold:no-checkpoint"
    before.restored(agent, pods)
