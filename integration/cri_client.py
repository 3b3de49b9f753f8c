"""CRI, the kubelet's side: pods and containers made, watched and removed over containerd's socket.

Each method is one call of Kubernetes' runtime.v1 API and has its name.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from glowplug.containerd import cri
from glowplug.containerd.protos import cri_pb2
from integration import cri_methods
from integration.cri_specs import (
    ContainerSpec,
    PodSpec,
    Resources,
    container_message,
    pod_message,
    resources_message,
)

ContainerState = Literal["created", "running", "exited", "unknown"]


@dataclass(frozen=True, slots=True)
class Version:
    """Who answers: `runtime` is containerd."""

    runtime: str
    runtime_version: str


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    """`ips`: the first is the pod's IP; none in the host's network. `pid`: of the pause process; 0 of a stopped pod."""

    ready: bool
    ips: tuple[str, ...]
    pid: int


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
class ContainerStats:
    """What a container uses; None where CRI said nothing of it."""

    id: str
    cpu_ns: int | None
    memory_working_set_bytes: int | None
    memory_rss_bytes: int | None
    layer_bytes: int | None


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the node. `id`: digest of its config. `size` in bytes, compressed."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size: int


class Cri(cri.Cri):
    """All of CRI that the tests use. See `glowplug.containerd.cri.Cri`."""

    def version(self) -> Version:
        """Name and version of the runtime."""
        answer = self.connection.call(cri_methods.CRI_VERSION, cri_pb2.VersionRequest())
        return Version(answer.runtime_name, answer.runtime_version)

    def run_pod_sandbox(self, pod: PodSpec, handler: str = "") -> str:
        """Makes and starts a pod's sandbox, with this runtime handler or the default one; returns its id."""
        request = cri_pb2.RunPodSandboxRequest(config=pod_message(pod), runtime_handler=handler)
        return self.connection.call(cri_methods.RUN_POD_SANDBOX, request).pod_sandbox_id

    def stop_pod_sandbox(self, pod_id: str) -> None:
        """Ends the pod's containers with SIGKILL, then its sandbox and network. Twice is no error."""
        request = cri_pb2.StopPodSandboxRequest(pod_sandbox_id=pod_id)
        self.connection.call(cri_methods.STOP_POD_SANDBOX, request)

    def remove_pod_sandbox(self, pod_id: str) -> None:
        """Removes a pod with its containers, stopping what still runs. Of an unknown pod it is no error."""
        request = cri_pb2.RemovePodSandboxRequest(pod_sandbox_id=pod_id)
        self.connection.call(cri_methods.REMOVE_POD_SANDBOX, request)

    def pod_sandbox_status(self, pod_id: str) -> SandboxStatus:
        """The state and the IPs of a pod."""
        request = cri_pb2.PodSandboxStatusRequest(pod_sandbox_id=pod_id, verbose=True)
        answer = self.connection.call(cri_methods.POD_SANDBOX_STATUS, request)
        network = answer.status.network
        ips = (network.ip, *(more.ip for more in network.additional_ips)) if network.ip else ()
        return SandboxStatus(answer.status.state == cri_pb2.SANDBOX_READY, ips, _pid(answer.info))

    def create_container(self, pod_id: str, container: ContainerSpec, pod: PodSpec) -> str:
        """Makes a container, without starting it; returns its id. `pod`: as run_pod_sandbox got it."""
        request = cri_pb2.CreateContainerRequest(
            pod_sandbox_id=pod_id,
            config=container_message(container, pod),
            sandbox_config=pod_message(pod),
        )
        return self.connection.call(cri_methods.CREATE_CONTAINER, request).container_id

    def start_container(self, container_id: str) -> None:
        """Starts a container: containerd calls the OCI runtime's create and start within this call."""
        request = cri_pb2.StartContainerRequest(container_id=container_id)
        self.connection.call(cri_methods.START_CONTAINER, request)

    def stop_container(self, container_id: str, grace_s: int = 0) -> None:
        """Sends the container's stop signal, after `grace_s` seconds SIGKILL; returns when it has ended."""
        request = cri_pb2.StopContainerRequest(container_id=container_id, timeout=grace_s)
        self.connection.call(cri_methods.STOP_CONTAINER, request, self.connection.timeout_s + grace_s)

    def list_containers(
        self, pod_id: str = "", labels: Mapping[str, str] | None = None
    ) -> tuple[ContainerSummary, ...]:
        """All containers, ended ones too, of this pod and with these labels."""
        chosen = cri_pb2.ContainerFilter(pod_sandbox_id=pod_id, label_selector=labels or {})
        request = cri_pb2.ListContainersRequest(filter=chosen)
        answer = self.connection.call(cri_methods.LIST_CRI_CONTAINERS, request)
        return tuple(map(_container_summary, answer.containers))

    def container_status(self, container_id: str) -> ContainerStatus:
        """The state of a container, how it ended, and its first process."""
        request = cri_pb2.ContainerStatusRequest(container_id=container_id, verbose=True)
        answer = self.connection.call(cri_methods.CONTAINER_STATUS, request)
        return _container_status(answer.status, _pid(answer.info))

    def update_container_resources(self, container_id: str, resources: Resources) -> None:
        """Changes the limits of a container; what is 0 or empty stays as it is."""
        request = cri_pb2.UpdateContainerResourcesRequest(
            container_id=container_id, linux=resources_message(resources)
        )
        self.connection.call(cri_methods.UPDATE_CONTAINER_RESOURCES, request)

    def reopen_container_log(self, container_id: str) -> None:
        """Has containerd open the log file again, after it was renamed."""
        request = cri_pb2.ReopenContainerLogRequest(container_id=container_id)
        self.connection.call(cri_methods.REOPEN_CONTAINER_LOG, request)

    def container_stats(self, container_id: str) -> ContainerStats:
        """What a container uses. NotFound where it does not run."""
        request = cri_pb2.ContainerStatsRequest(container_id=container_id)
        return _container_stats(self.connection.call(cri_methods.CONTAINER_STATS, request).stats)

    def checkpoint_container(self, container_id: str, location: str, timeout_s: int = 60) -> None:
        """containerd's own checkpoint, as a tar file at `location`; refused before containerd 2.0."""
        request = cri_pb2.CheckpointContainerRequest(
            container_id=container_id, location=location, timeout=timeout_s
        )
        self.connection.call(cri_methods.CHECKPOINT_CONTAINER, request, self.connection.timeout_s + timeout_s)

    def image_status(self, name: str) -> Image | None:
        """The image of that name or id, or None where the node has none."""
        request = cri_pb2.ImageStatusRequest(image=cri_pb2.ImageSpec(image=name))
        answer = self.connection.call(cri_methods.IMAGE_STATUS, request)
        return _image(answer.image) if answer.HasField("image") else None


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
        memory_rss_bytes=_uint64(memory, "rss_bytes"),
        layer_bytes=_uint64(layer, "used_bytes"),
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
