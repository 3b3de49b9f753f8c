"""Promises of the containerd client: deadlines, clear errors, and answers parsed as they should be."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
from tests.containerd_served import Served, refuse

from glowplug.containerd import methods
from glowplug.containerd.client import Containerd, Mount, Task
from glowplug.containerd.events import Event
from glowplug.containerd.protos import (
    containers_pb2,
    events_pb2,
    snapshots_pb2,
    task_events_pb2,
    tasks_pb2,
    version_pb2,
)
from glowplug.containerd.records import METADATA_EXTENSION, ContainerRecord
from glowplug.containerd.rpc import NotFound
from glowplug.errors import ContainerdError

CHAIN = f"sha256:{'ab' * 32}"
RECORD = containers_pb2.Container(id="c1", image="a/b:1", snapshotter="overlayfs", snapshot_key="k1")
RECORD.extensions[METADATA_EXTENSION].value = b'{"Version": "v1", "Metadata": {"ImageRef": "sha256:config"}}'


@pytest.fixture
def served(tmp_path: Any) -> Iterator[Served]:
    server = Served(f"{tmp_path}/socket")
    server.answer(methods.GET_CONTAINER, containers_pb2.GetContainerResponse(container=RECORD))
    yield server
    server.stop()


@pytest.fixture
def client(served: Served) -> Iterator[Containerd]:
    with Containerd(served.socket, timeout_s=10) as made:
        yield made


@pytest.fixture
def record(client: Containerd) -> ContainerRecord:
    return client.container("c1")


def test_a_forked_child_has_no_thread_of_grpc(served: Served) -> None:
    """A child that closes all descriptors would be aborted by one, now and then."""
    program = f"""if True:
        import os
        from glowplug.containerd.client import Containerd
        with Containerd({served.socket!r}, timeout_s=10) as client:
            client.container("c1")
            pid = os.fork()
            if not pid:
                os._exit(len(os.listdir("/proc/self/task")))
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    clean = {name: value for name, value in os.environ.items() if name != "GRPC_ENABLE_FORK_SUPPORT"}
    said = subprocess.run(
        [sys.executable, "-c", program], env=clean, capture_output=True, text=True, timeout=60
    )
    assert (said.stdout, said.returncode) == ("1\n", 0), said.stderr


def test_an_absent_socket_is_reported(tmp_path: Any) -> None:
    with (
        Containerd(f"{tmp_path}/none") as client,
        pytest.raises(ContainerdError, match=r"can't be reached at .*/none"),
    ):
        client.version()


def test_a_call_has_a_deadline(served: Served) -> None:
    served.answer(methods.VERSION, served.hang)
    with (
        Containerd(served.socket, timeout_s=0.2) as hurried,
        pytest.raises(ContainerdError, match=r"Version\.Version in time \(deadline 0.2 s\)"),
    ):
        hurried.version()


def test_a_server_that_comes_late_is_found_again(tmp_path: Any) -> None:
    with Containerd(f"{tmp_path}/socket") as client:
        with pytest.raises(ContainerdError):
            client.version()
        server = Served(f"{tmp_path}/socket")
        server.answer(methods.VERSION, version_pb2.VersionResponse(version="1.7.24"))
        assert _answered_at_last(client) == "1.7.24"
        server.stop()


def _answered_at_last(client: Containerd) -> str:
    """gRPC connects again after a pause; within the test's own time limit."""
    pause = threading.Event()
    while True:
        try:
            return client.version()
        except ContainerdError:
            pause.wait(0.05)


def test_every_call_names_the_namespace(served: Served, client: Containerd) -> None:
    client.container("c1")
    with Containerd(served.socket, "moby", timeout_s=10) as other:
        other.container("c1")
    assert [headers["containerd-namespace"] for headers in served.headers] == ["k8s.io", "moby"]


def test_what_is_not_there_is_reported_from_what_failed(served: Served, client: Containerd) -> None:
    served.answer(methods.GET_CONTAINER, refuse(grpc.StatusCode.NOT_FOUND, "no container c1"))
    with pytest.raises(NotFound, match=r"Containers\.Get: no container c1"):
        client.container("c1")
    served.answer(methods.GET_CONTAINER, refuse(grpc.StatusCode.INTERNAL, "disk gone"))
    with pytest.raises(ContainerdError, match=r"disk gone \(INTERNAL\)") as caught:
        client.container("c1")
    assert not isinstance(caught.value, NotFound)


def test_an_answer_of_a_full_node_is_taken(served: Served, client: Containerd) -> None:
    full = [containers_pb2.Container(id=str(number), labels={"x": "y" * (1 << 20)}) for number in range(12)]
    served.answer(methods.LIST_CONTAINERS, containers_pb2.ListContainersResponse(containers=full))
    assert len(client.containers()) == 12


def test_the_chain_id_is_the_parent_of_the_snapshot(
    served: Served, client: Containerd, record: ContainerRecord
) -> None:
    info = snapshots_pb2.Info(name="k1", parent=CHAIN)
    served.answer(methods.STAT_SNAPSHOT, snapshots_pb2.StatSnapshotResponse(info=info))
    assert client.chain_id(record) == CHAIN
    assert served.requests[-1] == snapshots_pb2.StatSnapshotRequest(snapshotter="overlayfs", key="k1")


def test_the_chain_id_of_an_image_is_requested_once(
    served: Served, client: Containerd, record: ContainerRecord
) -> None:
    info = snapshots_pb2.Info(name="k1", parent=CHAIN)
    served.answer(methods.STAT_SNAPSHOT, snapshots_pb2.StatSnapshotResponse(info=info))
    assert record.cri is not None
    of_another_image = replace(record, cri=replace(record.cri, image_ref="sha256:other"))
    for known in (record, replace(record, id="c2", snapshot_key="k2"), of_another_image):
        assert client.chain_id(known) == CHAIN
    assert [request.key for request in served.requests[-2:]] == ["k1", "k1"]


@pytest.mark.parametrize("parent", ["", f"{CHAIN}-1000-1000", "sha256:ab", "remapped"])
def test_another_parent_is_no_chain_id(
    served: Served, client: Containerd, record: ContainerRecord, parent: str
) -> None:
    info = snapshots_pb2.Info(name="k1", parent=parent)
    served.answer(methods.STAT_SNAPSHOT, snapshots_pb2.StatSnapshotResponse(info=info))
    with pytest.raises(ContainerdError, match="not a chain ID"):
        client.chain_id(record)


def test_mounts_come_with_their_options_in_order(
    served: Served, client: Containerd, record: ContainerRecord
) -> None:
    mount = snapshots_pb2.Mount(type="overlay", source="overlay", options=["workdir=/w", "upperdir=/u"])
    served.answer(methods.SNAPSHOT_MOUNTS, snapshots_pb2.MountsResponse(mounts=[mount]))
    assert client.rootfs_mounts(record) == (Mount("overlay", "overlay", ("workdir=/w", "upperdir=/u")),)


def test_a_pods_running_containers_are_found_by_labels(served: Served, client: Containerd) -> None:
    states = {"c1": tasks_pb2.RUNNING, "c2": tasks_pb2.STOPPED, "c3": tasks_pb2.PAUSED}

    def task(request: Any, context: grpc.ServicerContext) -> tasks_pb2.GetResponse:
        if request.container_id not in states:
            context.abort(grpc.StatusCode.NOT_FOUND, "no task")
        return tasks_pb2.GetResponse(process=tasks_pb2.Process(pid=7, status=states[request.container_id]))

    listed = [containers_pb2.Container(id=name) for name in ("c0", "c1", "c2", "c3")]
    served.answer(methods.LIST_CONTAINERS, containers_pb2.ListContainersResponse(containers=listed))
    served.answer(methods.GET_TASK, task)
    assert [one.id for one in client.find("shop", "model-0")] == ["c1"]
    assert served.requests[0].filters == [
        'labels."io.cri-containerd.kind"=="container",'
        'labels."io.kubernetes.pod.namespace"=="shop",labels."io.kubernetes.pod.name"=="model-0"'
    ]
    client.find("shop", 'model",x', "main")
    assert any(
        '=="model\\",x",labels."io.kubernetes.container.name"=="main"' in text for text in _filters(served)
    )


def _filters(served: Served) -> list[str]:
    lists = [one for one in served.requests if isinstance(one, containers_pb2.ListContainersRequest)]
    return [text for one in lists for text in one.filters]


def test_a_container_without_a_task_has_none(served: Served, client: Containerd) -> None:
    served.answer(methods.GET_TASK, refuse(grpc.StatusCode.NOT_FOUND, "no task"))
    assert client.task("c1") is None
    process = tasks_pb2.Process(id="c1", pid=42, status=tasks_pb2.RUNNING)
    served.answer(methods.GET_TASK, tasks_pb2.GetResponse(process=process))
    assert client.task("c1") == Task("c1", 42, "running")
    served.answer(methods.GET_TASK, refuse(grpc.StatusCode.UNKNOWN, "shim gone"))
    with pytest.raises(ContainerdError, match="shim gone"):
        client.task("c1")


def _envelope(topic: str, payload: Any, prefix: str = "") -> events_pb2.Envelope:
    made = events_pb2.Envelope(topic=topic, namespace="k8s.io")
    made.timestamp.seconds = 1700000000
    made.event.type_url = prefix + payload.DESCRIPTOR.full_name
    made.event.value = payload.SerializeToString()
    return made


def test_events_are_read_by_what_they_carry(served: Served, client: Containerd) -> None:
    exits = task_events_pb2.TaskExit
    sent = [
        _envelope("/tasks/exit", exits(container_id="c1", id="c1", pid=5, exit_status=137)),
        _envelope("/tasks/exit", exits(container_id="c1", id="e1", pid=6), "types.containerd.io/"),
        _envelope("/tasks/exec-added", task_events_pb2.TaskExecAdded(container_id="c1", exec_id="e2")),
        _envelope("/containers/delete", task_events_pb2.ContainerDelete(id="c1")),
        _envelope("/images/create", version_pb2.VersionResponse(version="1")),
    ]
    served.stream(methods.SUBSCRIBE, lambda _, __: sent)
    with client.events(["/tasks/exit", "/containers/delete"]) as stream:
        assert list(stream) == [
            Event(1700000000.0, "/tasks/exit", "c1", ""),
            Event(1700000000.0, "/tasks/exit", "c1", "e1"),
            Event(1700000000.0, "/tasks/exec-added", "c1", "e2"),
            Event(1700000000.0, "/containers/delete", "c1"),
            Event(1700000000.0, "/images/create"),
        ]
    here = ',namespace=="k8s.io"'
    assert served.requests[0].filters == [
        f'topic=="/tasks/exit"{here}',
        f'topic=="/containers/delete"{here}',
    ]


def test_events_of_other_namespaces_are_not_requested(served: Served, client: Containerd) -> None:
    served.stream(methods.SUBSCRIBE, lambda _, __: [])
    assert list(client.events()) == []
    assert served.requests[0].filters == ['namespace=="k8s.io"']


@pytest.mark.parametrize(
    ("name", "options", "is_ours"),
    [
        ("io.containerd.runc.v2", b"\x32\x1d/opt/bin/glowplug-runtime-dev", True),
        ("io.containerd.runc.v2", b"\x32\x0d/usr/bin/runc", False),
        ("io.containerd.runc.v2", b"", False),
        ("io.containerd.kata.v2", b"", False),
        ("io.containerd.runc.v2", b"\xff", None),
    ],
)
def test_the_event_of_a_new_container_says_whose_it_is(
    served: Served, client: Containerd, name: str, options: bytes, is_ours: bool | None
) -> None:
    made = task_events_pb2.ContainerCreate(id="c1")
    made.runtime.name, made.runtime.options.value = name, options
    served.stream(methods.SUBSCRIBE, lambda _, __: [_envelope("/containers/create", made)])
    (event,) = client.events()
    assert (event.container_id, event.is_ours) == ("c1", is_ours)


def test_an_event_that_can_not_be_read_is_an_error(served: Served, client: Containerd) -> None:
    damaged = _envelope("/tasks/exit", task_events_pb2.TaskExit(container_id="c1"))
    damaged.event.value = b"\xff"
    served.stream(methods.SUBSCRIBE, lambda _, __: [damaged])
    with client.events() as stream, pytest.raises(ContainerdError, match="/tasks/exit"):
        list(stream)


def test_close_ends_a_wait_for_events(served: Served, client: Containerd) -> None:
    def one_and_wait(_: Any, __: Any) -> Iterator[events_pb2.Envelope]:
        yield _envelope("/tasks/start", task_events_pb2.TaskStart(container_id="c1", pid=5))
        served.stopping.wait(10)

    served.stream(methods.SUBSCRIBE, one_and_wait)
    stream, seen, first = client.events(), [], threading.Event()

    def watch() -> None:
        for event in stream:
            seen.append(event)
            first.set()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    assert first.wait(60)
    stream.close()
    watcher.join(60)
    assert not watcher.is_alive()
    assert [event.topic for event in seen] == ["/tasks/start"]


def test_a_containerd_that_goes_ends_the_events_with_an_error(served: Served, client: Containerd) -> None:
    served.stream(methods.SUBSCRIBE, refuse(grpc.StatusCode.UNAVAILABLE, "bye"))
    with client.events() as stream, pytest.raises(ContainerdError, match=r"Events\.Subscribe: bye"):
        list(stream)
