"""CRI, the kubelet's side: pods and containers made, watched and removed over containerd's socket.

Each method is one call of Kubernetes' runtime.v1 API and bears its name.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self, cast

from glowplug.containerd import methods
from glowplug.containerd.client import SOCKET
from glowplug.containerd.cri_specs import (
    ContainerSpec,
    PodSpec,
    Resources,
    container_message,
    pod_message,
    resources_message,
)
from glowplug.containerd.protos import cri_pb2
from glowplug.containerd.rpc import Connection

# What the kubelet gives a call (its runtimeRequestTimeout): 2 minutes, and the time asked for on top of it.
TIMEOUT_S = 120.0

ContainerState = Literal["created", "running", "exited", "unknown"]


@dataclass(frozen=True, slots=True)
class Version:
    """Who answers: `runtime` is containerd."""

    runtime: str
    runtime_version: str
    api_version: str


@dataclass(frozen=True, slots=True)
class RuntimeStatus:
    """`conditions`: RuntimeReady, NetworkReady. `config`: CRI's active configuration."""

    conditions: Mapping[str, bool]
    config: Mapping[str, Any] = field(repr=False)  # may hold registry passwords


@dataclass(frozen=True, slots=True)
class PodStatus:
    """A pod's sandbox. `ips`: the first is the pod's IP; none in the host's network. `created_at`: Unix s.

    `pid`: of the pause process; 0 where the status was not asked for alone, or the pod is stopped.
    """

    id: str
    namespace: str
    name: str
    uid: str
    ready: bool
    created_at: float
    handler: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    ips: tuple[str, ...] = ()
    pid: int = 0


@dataclass(frozen=True, slots=True)
class ContainerSummary:
    """A container as a list shows it. `created_at`: Unix time in seconds."""

    id: str
    pod_id: str
    name: str
    attempt: int
    image_ref: str
    state: ContainerState
    created_at: float
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """A container. Times are Unix seconds, 0 for what has not happened. `pid` is 0 unless it runs.

    `reason`, `message`: why it ended (Completed, Error, OOMKilled, StartError), and containerd's words.
    """

    id: str
    name: str
    attempt: int
    state: ContainerState
    created_at: float
    started_at: float
    finished_at: float
    exit_code: int
    reason: str
    message: str
    image_ref: str
    log_path: str
    pid: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What a command in a container wrote, and its exit code."""

    stdout: bytes
    stderr: bytes
    exit_code: int


@dataclass(frozen=True, slots=True)
class ContainerStats:
    """What a container uses; None where CRI said nothing of it."""

    id: str
    cpu_ns: int | None
    memory_working_set_bytes: int | None
    memory_usage_bytes: int | None
    memory_rss_bytes: int | None
    layer_bytes: int | None
    layer_inodes: int | None


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the node. `id`: digest of its config. `size` in bytes, compressed."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size: int


class Cri:
    """CRI of one containerd. Thread-safe; connects at the first call.

    Every method raises ContainerdError: containerd can't be reached, did not answer in time, or refused; and
    NotFound, which is one too, where a pod or container is not there.
    """

    def __init__(self, socket: str = SOCKET, *, timeout_s: float = TIMEOUT_S) -> None:
        """`socket`: path. `timeout_s`: deadline of each call, in seconds."""
        self._connection = Connection(socket, timeout_s)

    def version(self) -> Version:
        """Name and version of the runtime."""
        answer = self._connection.call(methods.CRI_VERSION, cri_pb2.VersionRequest())
        return Version(answer.runtime_name, answer.runtime_version, answer.runtime_api_version)

    def status(self) -> RuntimeStatus:
        """Whether the runtime and its network are ready, and the active configuration."""
        answer = self._connection.call(methods.CRI_STATUS, cri_pb2.StatusRequest(verbose=True))
        conditions = {condition.type: condition.status for condition in answer.status.conditions}
        return RuntimeStatus(conditions, json.loads(answer.info.get("config") or "{}"))

    def run_pod_sandbox(self, pod: PodSpec, handler: str = "") -> str:
        """Makes and starts a pod's sandbox, with this runtime handler or the default one; returns its id."""
        request = cri_pb2.RunPodSandboxRequest(config=pod_message(pod), runtime_handler=handler)
        return self._connection.call(methods.RUN_POD_SANDBOX, request).pod_sandbox_id

    def stop_pod_sandbox(self, pod_id: str) -> None:
        """Ends the pod's containers with SIGKILL, then its sandbox and network. Twice is no error."""
        request = cri_pb2.StopPodSandboxRequest(pod_sandbox_id=pod_id)
        self._connection.call(methods.STOP_POD_SANDBOX, request)

    def remove_pod_sandbox(self, pod_id: str) -> None:
        """Removes a pod with its containers, stopping what still runs. Of an unknown pod it is no error."""
        request = cri_pb2.RemovePodSandboxRequest(pod_sandbox_id=pod_id)
        self._connection.call(methods.REMOVE_POD_SANDBOX, request)

    def pod_sandbox_status(self, pod_id: str) -> PodStatus:
        """The state and the IPs of a pod."""
        request = cri_pb2.PodSandboxStatusRequest(pod_sandbox_id=pod_id, verbose=True)
        answer = self._connection.call(methods.POD_SANDBOX_STATUS, request)
        network = answer.status.network
        ips = (network.ip, *(more.ip for more in network.additional_ips)) if network.ip else ()
        return _pod_status(answer.status, ips=ips, pid=_pid(answer.info))

    def list_pod_sandbox(self, labels: Mapping[str, str] | None = None) -> tuple[PodStatus, ...]:
        """All pods that bear these labels, without IPs and pids."""
        chosen = cri_pb2.PodSandboxFilter(label_selector=labels or {})
        request = cri_pb2.ListPodSandboxRequest(filter=chosen)
        answer = self._connection.call(methods.LIST_POD_SANDBOX, request)
        return tuple(_pod_status(item, ips=(), pid=0) for item in answer.items)

    def create_container(self, pod_id: str, container: ContainerSpec, pod: PodSpec) -> str:
        """Makes a container, without starting it; returns its id. `pod`: as given to run_pod_sandbox."""
        request = cri_pb2.CreateContainerRequest(
            pod_sandbox_id=pod_id,
            config=container_message(container, pod),
            sandbox_config=pod_message(pod),
        )
        return self._connection.call(methods.CREATE_CONTAINER, request).container_id

    def start_container(self, container_id: str) -> None:
        """Starts a container: containerd calls the OCI runtime's create and start within this call."""
        request = cri_pb2.StartContainerRequest(container_id=container_id)
        self._connection.call(methods.START_CONTAINER, request)

    def stop_container(self, container_id: str, grace_s: int = 0) -> None:
        """Sends the container's stop signal, after `grace_s` seconds SIGKILL; returns when it has ended."""
        request = cri_pb2.StopContainerRequest(container_id=container_id, timeout=grace_s)
        self._connection.call(methods.STOP_CONTAINER, request, self._connection.timeout_s + grace_s)

    def list_containers(
        self, pod_id: str = "", labels: Mapping[str, str] | None = None
    ) -> tuple[ContainerSummary, ...]:
        """All containers, ended ones too, of this pod and with these labels."""
        chosen = cri_pb2.ContainerFilter(pod_sandbox_id=pod_id, label_selector=labels or {})
        request = cri_pb2.ListContainersRequest(filter=chosen)
        answer = self._connection.call(methods.LIST_CRI_CONTAINERS, request)
        return tuple(map(_container_summary, answer.containers))

    def container_status(self, container_id: str) -> ContainerStatus:
        """The state of a container, how it ended, and its first process."""
        request = cri_pb2.ContainerStatusRequest(container_id=container_id, verbose=True)
        answer = self._connection.call(methods.CONTAINER_STATUS, request)
        return _container_status(answer.status, _pid(answer.info))

    def update_container_resources(self, container_id: str, resources: Resources) -> None:
        """Changes the limits of a container; what is 0 or empty stays as it is."""
        request = cri_pb2.UpdateContainerResourcesRequest(
            container_id=container_id, linux=resources_message(resources)
        )
        self._connection.call(methods.UPDATE_CONTAINER_RESOURCES, request)

    def reopen_container_log(self, container_id: str) -> None:
        """Has containerd open the log file anew, after it was renamed."""
        request = cri_pb2.ReopenContainerLogRequest(container_id=container_id)
        self._connection.call(methods.REOPEN_CONTAINER_LOG, request)

    def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_s: int = 10, grace_s: float | None = None
    ) -> ExecResult:
        """Runs a command in a container. ContainerdError when it takes longer than `timeout_s` seconds.

        containerd answers when nobody holds the command's output open any more, which a process that it left behind
        may do forever: `grace_s`, in seconds, is for that; None: as for any call.
        """
        request = cri_pb2.ExecSyncRequest(container_id=container_id, cmd=command, timeout=timeout_s)
        grace_s = self._connection.timeout_s if grace_s is None else grace_s
        answer = self._connection.call(methods.EXEC_SYNC, request, timeout_s + grace_s)
        return ExecResult(answer.stdout, answer.stderr, answer.exit_code)

    def container_stats(self, container_id: str) -> ContainerStats:
        """What a container uses. NotFound where it does not run."""
        request = cri_pb2.ContainerStatsRequest(container_id=container_id)
        return _container_stats(self._connection.call(methods.CONTAINER_STATS, request).stats)

    def checkpoint_container(self, container_id: str, location: str, timeout_s: int = 60) -> None:
        """containerd's own checkpoint, as a tar file at `location`; refused before containerd 2.0."""
        request = cri_pb2.CheckpointContainerRequest(
            container_id=container_id, location=location, timeout=timeout_s
        )
        self._connection.call(methods.CHECKPOINT_CONTAINER, request, self._connection.timeout_s + timeout_s)

    def image_status(self, name: str) -> Image | None:
        """The image of that name or id, or None where the node has none."""
        request = cri_pb2.ImageStatusRequest(image=cri_pb2.ImageSpec(image=name))
        answer = self._connection.call(methods.IMAGE_STATUS, request)
        return _image(answer.image) if answer.HasField("image") else None

    def close(self) -> None:
        """Closes the connection; the object can't be used afterwards."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _pod_status(
    pod: cri_pb2.PodSandboxStatus | cri_pb2.PodSandbox, *, ips: tuple[str, ...], pid: int
) -> PodStatus:
    return PodStatus(
        id=pod.id,
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        uid=pod.metadata.uid,
        ready=pod.state == cri_pb2.SANDBOX_READY,
        created_at=pod.created_at / 1e9,
        handler=pod.runtime_handler,
        labels=dict(pod.labels),
        annotations=dict(pod.annotations),
        ips=ips,
        pid=pid,
    )


def _container_summary(container: cri_pb2.Container) -> ContainerSummary:
    return ContainerSummary(
        id=container.id,
        pod_id=container.pod_sandbox_id,
        name=container.metadata.name,
        attempt=container.metadata.attempt,
        image_ref=container.image_ref,
        state=_state(container.state),
        created_at=container.created_at / 1e9,
        labels=dict(container.labels),
        annotations=dict(container.annotations),
    )


def _container_status(status: cri_pb2.ContainerStatus, pid: int) -> ContainerStatus:
    return ContainerStatus(
        id=status.id,
        name=status.metadata.name,
        attempt=status.metadata.attempt,
        state=_state(status.state),
        created_at=status.created_at / 1e9,
        started_at=status.started_at / 1e9,
        finished_at=status.finished_at / 1e9,
        exit_code=status.exit_code,
        reason=status.reason,
        message=status.message,
        image_ref=status.image_ref,
        log_path=status.log_path,
        pid=pid if status.state == cri_pb2.CONTAINER_RUNNING else 0,
        labels=dict(status.labels),
        annotations=dict(status.annotations),
    )


def _container_stats(stats: cri_pb2.ContainerStats) -> ContainerStats:
    cpu, memory, layer = stats.cpu, stats.memory, stats.writable_layer
    return ContainerStats(
        id=stats.attributes.id,
        cpu_ns=_uint64(cpu, "usage_core_nano_seconds"),
        memory_working_set_bytes=_uint64(memory, "working_set_bytes"),
        memory_usage_bytes=_uint64(memory, "usage_bytes"),
        memory_rss_bytes=_uint64(memory, "rss_bytes"),
        layer_bytes=_uint64(layer, "used_bytes"),
        layer_inodes=_uint64(layer, "inodes_used"),
    )


def _uint64(
    usage: cri_pb2.CpuUsage | cri_pb2.MemoryUsage | cri_pb2.FilesystemUsage, field: str
) -> int | None:
    present = {descriptor.name: value for descriptor, value in usage.ListFields()}
    return int(present[field].value) if field in present else None


def _image(image: cri_pb2.Image) -> Image:
    return Image(image.id, tuple(image.repo_tags), tuple(image.repo_digests), image.size)


def _state(state: cri_pb2.ContainerState) -> ContainerState:
    name = cri_pb2.ContainerState.Name(state).removeprefix("CONTAINER_").lower()
    return cast("ContainerState", name)


def _pid(info: Mapping[str, str]) -> int:
    """The pid in containerd's verbose status, a JSON text under `info`."""
    return int(json.loads(info.get("info") or "{}").get("pid", 0))
