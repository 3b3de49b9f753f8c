"""The containerd client against a real containerd: what Glowplug keys on is what containerd did."""

import functools
import hashlib
import threading

import pytest

from glowplug.checkpoint import bundle
from glowplug.containerd.client import Containerd
from glowplug.containerd.events import Event
from glowplug.containerd.rpc import NotFound
from integration.images import workload_layers
from integration.node import Node
from integration.pods import Pods
from integration.waiting import wait_until

SECRET = "do-not-show-me"


@pytest.fixture
def containerd(node: Node) -> Containerd:
    return Containerd(node.names.socket, timeout_s=60)


def test_a_record_says_what_the_container_is(containerd: Containerd, pods: Pods) -> None:
    pod = pods.run(namespace="shop", handler="runc")
    made = pod.container(env={"PASSWORD": SECRET})
    record = containerd.container(made.id)
    assert record.cri is not None
    assert (record.cri.container_name, record.cri.sandbox_id) == ("main", pod.id)
    assert record.cri.log_path == f"{pod.spec.log_directory}/main.log"
    assert record.snapshotter == "overlayfs"
    assert f"PASSWORD={SECRET}" in bundle.read(record.spec).env
    assert SECRET not in repr(record)
    assert containerd.container(pod.id).is_sandbox and not record.is_sandbox


def test_a_handlers_options_are_those_of_its_configuration(containerd: Containerd, pods: Pods) -> None:
    record = containerd.container(pods.run(handler="glowplug").container().id)
    assert record.runc is not None
    assert record.runc.binary.endswith("/glowplug-runtime")


def test_the_chain_id_is_that_of_the_images_layers(containerd: Containerd, pods: Pods) -> None:
    pod = pods.run(handler="runc")
    first, second = (containerd.container(pod.container(name).id) for name in ("one", "two"))
    assert first.snapshot_key != second.snapshot_key
    assert containerd.chain_id(first) == containerd.chain_id(second)
    assert containerd.chain_id(first) == functools.reduce(_chain, map(_diff_id, workload_layers()))


def _diff_id(layer: str) -> str:
    """Of a layer that is stored uncompressed: the digest of its archive (OCI image spec, config.md)."""
    with open(layer, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _chain(below: str, diff_id: str) -> str:
    """The chain ID of a layer upon others (OCI image spec, config.md)."""
    return f"sha256:{hashlib.sha256(f'{below} {diff_id}'.encode()).hexdigest()}"


def test_the_mounts_name_the_upper_directory(containerd: Containerd, pods: Pods) -> None:
    container = pods.run(handler="runc").serving()
    assert container.exec("touch", "/data/here").exit_code == 0
    (mount,) = containerd.rootfs_mounts(containerd.container(container.id))
    options = dict(option.partition("=")[::2] for option in mount.options)
    assert mount.type == "overlay"
    with open(f"{options['upperdir']}/data/here") as file:
        assert file.read() == ""


def test_only_running_containers_of_that_pod_are_found(containerd: Containerd, pods: Pods) -> None:
    pod = pods.run(namespace="shop", handler="runc")
    running, ended, made = pod.serving(), pod.container("ended"), pod.container("made")
    ended.start()
    ended.stop()
    assert [record.id for record in containerd.find("shop", "pod")] == [running.id]
    assert [record.id for record in containerd.find("shop", "pod", "main")] == [running.id]
    assert containerd.find("shop", "pod", "ended") == containerd.find("other", "pod") == ()
    task = containerd.task(running.id)
    assert task is not None
    assert (task.pid, task.status) == (running.pid, "running")
    assert task in containerd.tasks()
    assert containerd.task(made.id) is None
    with pytest.raises(NotFound, match="nothing"):
        containerd.container("nothing")


def test_an_end_is_reported_as_an_event(containerd: Containerd, pods: Pods) -> None:
    container = pods.run(handler="runc").serving()
    seen: list[Event] = []
    reported, begun = threading.Event(), threading.Event()
    stream = containerd.events(["/tasks/exit", "/tasks/exec-started"])

    def watch() -> None:
        for event in stream:
            begun.set()
            if event.container_id == container.id and event.topic == "/tasks/exit" and not event.exec_id:
                seen.append(event)
                reported.set()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    # A subscription does not say when it has begun.
    wait_until(lambda: container.exec("true") and begun.is_set(), 10, "an event of an exec")
    containerd.kill(container.id, 9)
    assert reported.wait(60)
    assert len(seen) == 1
    stream.close()
    watcher.join(60)
    assert not watcher.is_alive()
