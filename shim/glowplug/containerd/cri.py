"""CRI: the few calls of Kubernetes' runtime.v1 API that the agent and the doctor make, over containerd's socket.

Each method is one call and has its name. The kubelet's other calls are in integration/cri_client.py, for the tests.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from glowplug.containerd import methods
from glowplug.containerd.client import SOCKET
from glowplug.containerd.protos import cri_pb2
from glowplug.containerd.rpc import Closing, Connection

# What the kubelet gives a call (its runtimeRequestTimeout): 2 minutes, and the time requested on top of it.
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class RuntimeStatus:
    """`conditions`: RuntimeReady, NetworkReady. `config`: CRI's active configuration."""

    conditions: Mapping[str, bool]
    config: Mapping[str, Any] = field(repr=False)  # may contain registry passwords


@dataclass(frozen=True, slots=True)
class PodStatus:
    """A pod's sandbox as a list shows it. `created_at`: Unix time in seconds."""

    id: str
    namespace: str
    name: str
    ready: bool
    created_at: float
    handler: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What a command in a container wrote, and its exit code."""

    stdout: bytes
    stderr: bytes
    exit_code: int


class Cri(Closing):
    """CRI of one containerd. Thread-safe; connects at the first call.

    Every method raises ContainerdError: containerd can't be reached, did not answer in time, or refused; and
    NotFound, which is one too, where a pod or container is not there.
    """

    def __init__(self, socket: str = SOCKET, *, timeout_s: float = TIMEOUT_S) -> None:
        """`socket`: path. `timeout_s`: deadline of each call, in seconds."""
        self.connection = Connection(socket, timeout_s)

    def status(self) -> RuntimeStatus:
        """Whether the runtime and its network are ready, and the active configuration."""
        answer = self.connection.call(methods.CRI_STATUS, cri_pb2.StatusRequest(verbose=True))
        conditions = {condition.type: condition.status for condition in answer.status.conditions}
        return RuntimeStatus(conditions, json.loads(answer.info.get("config") or "{}"))

    def list_pod_sandbox(self, labels: Mapping[str, str] | None = None) -> tuple[PodStatus, ...]:
        """All pods that bear these labels."""
        chosen = cri_pb2.PodSandboxFilter(label_selector=labels or {})
        request = cri_pb2.ListPodSandboxRequest(filter=chosen)
        answer = self.connection.call(methods.LIST_POD_SANDBOX, request)
        return tuple(_pod_status(item) for item in answer.items)

    def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_s: int = 10, grace_s: float | None = None
    ) -> ExecResult:
        """Runs a command in a container. ContainerdError when it takes longer than `timeout_s` seconds.

        containerd answers when nobody holds the command's output open any more, which a process that it left behind
        may do forever: `grace_s`, in seconds, is for that; None: as for any call.
        """
        request = cri_pb2.ExecSyncRequest(container_id=container_id, cmd=command, timeout=timeout_s)
        grace_s = self.connection.timeout_s if grace_s is None else grace_s
        answer = self.connection.call(methods.EXEC_SYNC, request, timeout_s + grace_s)
        return ExecResult(answer.stdout, answer.stderr, answer.exit_code)

    def close(self) -> None:
        """Closes the connection; the object can't be used afterwards."""
        self.connection.close()


def _pod_status(pod: cri_pb2.PodSandbox) -> PodStatus:
    return PodStatus(
        id=pod.id,
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        ready=pod.state == cri_pb2.SANDBOX_READY,
        created_at=pod.created_at / 1e9,
        handler=pod.runtime_handler,
        labels=dict(pod.labels),
    )
