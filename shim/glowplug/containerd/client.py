"""containerd's own API: which containers there are, what they are made of, which processes they run."""

import json
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from google.protobuf.empty_pb2 import Empty

from glowplug.containerd import methods
from glowplug.containerd.events import EventStream
from glowplug.containerd.protos import (
    containers_pb2,
    events_pb2,
    snapshots_pb2,
    tasks_pb2,
)
from glowplug.containerd.records import (
    CONTAINER_NAME_LABEL,
    KIND_LABEL,
    POD_NAME_LABEL,
    POD_NAMESPACE_LABEL,
    ContainerRecord,
    container_record,
)
from glowplug.containerd.rpc import Closing, Connection, NotFound
from glowplug.errors import ContainerdError

SOCKET = "/run/containerd/containerd.sock"
NAMESPACE = "k8s.io"

TaskStatus = Literal["unknown", "created", "running", "stopped", "paused", "pausing"]

CHAIN_IDS_KEPT = 1024
LIST_WITHIN_S = 15.0

_CHAIN_ID = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Task:
    """The running side of a container. `pid`: of its first process, in the host's PID namespace."""

    id: str
    pid: int
    status: TaskStatus


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount as mount(8) takes it; a container's root has type overlay, its directories are options."""

    type: str
    source: str
    options: tuple[str, ...]


class Containerd(Closing):
    """One containerd, seen through one of its namespaces. Thread-safe; connects at the first call.

    Every method raises ContainerdError: containerd can't be reached, did not answer in time, or refused; and
    NotFound, which is one too, where what was requested is not there.
    """

    def __init__(self, socket: str = SOCKET, namespace: str = NAMESPACE, *, timeout_s: float = 1.0) -> None:
        """`socket`: path. `timeout_s`: deadline of each call, in seconds."""
        self.namespace = namespace
        self._connection = Connection(socket, timeout_s, namespace)
        self._chain_ids: dict[tuple[str, str], str] = {}

    def version(self) -> str:
        """containerd's version as it prints it (1.6.20~ds1, v2.1.9)."""
        return self._connection.call(methods.VERSION, Empty()).version

    def container(self, container_id: str) -> ContainerRecord:
        """The record of one container. NotFound where there is none of that id."""
        request = containers_pb2.GetContainerRequest(id=container_id)
        return container_record(self._connection.call(methods.GET_CONTAINER, request).container)

    def containers(self, labels: Mapping[str, str] | None = None) -> tuple[ContainerRecord, ...]:
        """All containers that bear these labels, sandboxes too."""
        matcher = ",".join(_equals(f"labels.{_quoted(key)}", value) for key, value in (labels or {}).items())
        request = containers_pb2.ListContainersRequest(filters=[matcher] if matcher else [])
        answer = self._connection.call(methods.LIST_CONTAINERS, request)
        return tuple(map(container_record, answer.containers))

    def find(self, namespace: str, pod: str, container: str | None = None) -> tuple[ContainerRecord, ...]:
        """The running containers of a Kubernetes pod, without its sandbox; or only the one of that name."""
        labels = {KIND_LABEL: "container", POD_NAMESPACE_LABEL: namespace, POD_NAME_LABEL: pod}
        if container is not None:
            labels[CONTAINER_NAME_LABEL] = container
        return tuple(record for record in self.containers(labels) if self._runs(record.id))

    def _runs(self, container_id: str) -> bool:
        task = self.task(container_id)
        return task is not None and task.status == "running"

    def chain_id(self, record: ContainerRecord) -> str:
        """Chain ID of the container's image (OCI image spec, config.md): the parent of its snapshot.

        It never changes, and an image's config (CRI's image_ref, a digest) has only one, so it is requested once.
        """
        image = record.cri.image_ref if record.cri and record.cri.image_ref else record.id
        known = self._chain_ids.get((record.snapshotter, image))
        if known:
            return known
        request = snapshots_pb2.StatSnapshotRequest(snapshotter=record.snapshotter, key=record.snapshot_key)
        parent = self._connection.call(methods.STAT_SNAPSHOT, request).info.parent
        if not _CHAIN_ID.fullmatch(parent):
            raise ContainerdError(
                f"the snapshot of container {record.id} has the parent {parent!r}, which is not a chain ID of an "
                "image (sha256:…): a root remapped for a user namespace, or not unpacked by containerd"
            )
        if len(self._chain_ids) >= CHAIN_IDS_KEPT:
            self._chain_ids.clear()
        self._chain_ids[record.snapshotter, image] = parent
        return parent

    def rootfs_mounts(self, record: ContainerRecord) -> tuple[Mount, ...]:
        """How the container's root file system is mounted."""
        request = snapshots_pb2.MountsRequest(snapshotter=record.snapshotter, key=record.snapshot_key)
        answer = self._connection.call(methods.SNAPSHOT_MOUNTS, request)
        return tuple(Mount(mount.type, mount.source, tuple(mount.options)) for mount in answer.mounts)

    def task(self, container_id: str) -> Task | None:
        """The container's task, or None where it has none: not started yet, or cleaned up."""
        request = tasks_pb2.GetRequest(container_id=container_id)
        try:
            return _task(self._connection.call(methods.GET_TASK, request).process)
        except NotFound:
            return None

    def tasks(self, timeout_s: float = LIST_WITHIN_S) -> tuple[Task, ...]:
        """All tasks, those of sandboxes too. Each shim is queried: it takes longer on a full node."""
        answer = self._connection.call(methods.LIST_TASKS, tasks_pb2.ListTasksRequest(), timeout_s)
        return tuple(map(_task, answer.tasks))

    def kill(self, container_id: str, signal_number: int = signal.SIGTERM, *, everyone: bool = False) -> None:
        """Sends a signal to the container's first process, or to everyone in it."""
        request = tasks_pb2.KillRequest(container_id=container_id, signal=signal_number, all=everyone)
        self._connection.call(methods.KILL_TASK, request)

    def events(self, topics: Sequence[str] = ()) -> EventStream:
        """Events in this namespace from now on, of these topics (such as /tasks/exit) or of all."""
        here = _equals("namespace", self.namespace)
        filters = [f"{_equals('topic', topic)},{here}" for topic in topics] or [here]
        request = events_pb2.SubscribeRequest(filters=filters)
        return EventStream(self._connection.stream(methods.SUBSCRIBE, request, timeout_s=None))

    def close(self) -> None:
        """Closes the connection; the object can't be used afterwards."""
        self._connection.close()


def _equals(field: str, value: str) -> str:
    """A term of containerd's filter language (its pkg/filters); terms joined by a comma must all be true."""
    return f"{field}=={_quoted(value)}"


def _quoted(text: str) -> str:
    """As a Go string literal, which JSON's strings are; a bare / would begin another kind of quote."""
    return json.dumps(text)


def _task(process: tasks_pb2.Process) -> Task:
    status = tasks_pb2.Status.Name(process.status).lower()
    return Task(process.id, process.pid, cast("TaskStatus", status))
