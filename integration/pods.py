"""Pods and containers on a node, as tests want them: made in a line, queried over HTTP, removed in the end."""

import contextlib
import http.client
import json
import os
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from glowplug.containerd.cri import ExecResult
from glowplug.containerd.rpc import NotFound
from glowplug.errors import ContainerdError
from integration.cri_client import ContainerStatus, Cri
from integration.cri_specs import ContainerSpec, PodSpec
from integration.images import WORKLOAD_IMAGE
from integration.leaks import assert_nothing_beyond, holdings
from integration.node import Node
from integration.waiting import wait_until

PORT = 8000
SERVES_WITHIN_S = 60.0
ANSWER_WITHIN_S = 60.0
STOPS_WITHIN_S = 60.0


def generated_name(prefix: str) -> str:
    """As Kubernetes calls a pod that a controller makes (apimachinery, pkg/util/rand): it says nothing of the pod.

    The first character is a letter: five digits would be an ordinal, and a name with an ordinal is identity.
    """
    letters = "bcdfghjklmnpqrstvwxz"
    draw = random.SystemRandom()
    return f"{prefix}-{draw.choice(letters)}{''.join(draw.choices(letters + '2456789', k=4))}"


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a container's log (CRI log format). `at`: RFC 3339; `full`: whether a newline ended it."""

    at: str
    stream: str
    full: bool
    text: str


class Container:
    """A container of a pod, made and not started."""

    def __init__(self, pod: "Pod", spec: ContainerSpec) -> None:
        self.pod = pod
        self.spec = spec
        self.id = pod.cri.create_container(pod.id, spec, pod.spec)

    def start(self) -> float:
        """Returns the seconds that StartContainer took. Raises ContainerdError."""
        before = time.monotonic()
        self.pod.cri.start_container(self.id)
        return time.monotonic() - before

    def status(self) -> ContainerStatus:
        """CRI's."""
        return self.pod.cri.container_status(self.id)

    @property
    def pid(self) -> int:
        """Of its first process, in the node's PID namespace."""
        return self.status().pid

    def exec(self, *command: str) -> ExecResult:
        """CRI ExecSync."""
        return self.pod.cri.exec_sync(self.id, command)

    def stop(self, grace_s: int = 0) -> ContainerStatus:
        """Stopped through CRI; how it ended."""
        self.pod.cri.stop_container(self.id, grace_s)
        return self.status()

    def ended(self, deadline_s: float = SERVES_WITHIN_S) -> ContainerStatus:
        """How it ended, once it has on its own."""

        def end() -> ContainerStatus | None:
            status = self.status()
            return status if status.state == "exited" else None

        found = wait_until(end, deadline_s, f"the end of container {self.spec.name}")
        assert found is not None
        return found

    def log(self) -> list[LogLine]:
        """All lines so far. One that containerd is still writing is none yet."""
        lines = []
        with open(os.path.join(self.pod.spec.log_directory, self.spec.log_path)) as file:
            for line in file:
                if not line.endswith("\n"):
                    break
                at, stream, tag, text = line.rstrip("\n").split(" ", 3)
                lines.append(LogLine(at, stream, tag == "F", text))
        return lines

    def get(self, path: str, port: int = PORT) -> bytes:
        """An HTTP answer over the pod's IP. Raises OSError, or ValueError for another status than 200."""
        connection = http.client.HTTPConnection(self.pod.ip, port, timeout=ANSWER_WITHIN_S)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise ValueError(f"{path}: expected status 200, got {answer.status}: {body[:200]!r}")
        return body

    def state(self, port: int = PORT) -> dict[str, Any]:
        """What the workload reports itself, once it serves."""
        self.serves(port)
        found: dict[str, Any] = json.loads(self.get("/state", port))
        return found

    def serves(self, port: int = PORT) -> None:
        """Returns once the workload answers. Raises TimeoutError with its log."""

        def token() -> bytes:
            if self.status().state == "exited":
                raise TimeoutError(f"expected container {self.spec.name} to serve, it ended: {self.status()}")
            try:
                return self.get("/token", port)
            except OSError:
                return b""

        try:
            wait_until(token, SERVES_WITHIN_S, f"an answer of container {self.spec.name}")
        except TimeoutError as error:
            log = "\n".join(line.text for line in self.log()[-30:])
            raise TimeoutError(f"{error}\n{log}") from None


class Pod:
    """A pod that runs, its sandbox ready."""

    def __init__(self, cri: Cri, spec: PodSpec, handler: str) -> None:
        self.cri = cri
        self.spec = spec
        self.id = cri.run_pod_sandbox(spec, handler)
        ips = self.cri.pod_sandbox_status(self.id).ips
        self.ip = ips[0] if ips else "127.0.0.1"  # none in the host's network

    def container(self, name: str = "main", **fields: Any) -> Container:
        """A container, not started: the test workload unless the fields of ContainerSpec say otherwise."""
        spec = ContainerSpec(name=name, image=WORKLOAD_IMAGE, log_path=f"{name}.log")
        return Container(self, replace(spec, **fields))

    def serving(self, env: Mapping[str, str] | None = None, **fields: Any) -> Container:
        """A container that was started and answers."""
        container = self.container(env=env or {}, **fields)
        container.start()
        container.serves()
        return container

    def remove(self) -> None:
        """With its containers. Twice is no error."""
        with contextlib.suppress(NotFound):
            wait_until(self._stop, STOPS_WITHIN_S, "the pod stopped")
            self.cri.remove_pod_sandbox(self.id)

    def _stop(self) -> bool:
        """Whether it is stopped. A kubelet, too, calls again where a shim ended just as containerd called it."""
        try:
            self.cri.stop_pod_sandbox(self.id)
        except ContainerdError as error:
            if "ttrpc: closed" not in str(error):
                raise
            return False
        return True


class Pods:
    """Makes pods on a node, and removes those that are still there in the end."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._made: list[Pod] = []

    def run(self, name: str = "pod", handler: str = "glowplug", **fields: Any) -> Pod:
        """A new pod, with a uid of its own; `fields` are PodSpec's."""
        spec = replace(PodSpec(name=name, cgroup_parent=self.node.names.cgroup_parent), **fields)
        logs = os.path.join(self.node.names.state, "logs", f"{name}-{spec.uid}")
        pod = Pod(self.node.cri, replace(spec, log_directory=logs), handler)
        self._made.append(pod)
        return pod

    def remove_all(self) -> None:
        """In the order of making."""
        while self._made:
            self._made.pop(0).remove()


@contextlib.contextmanager
def pods_on(node: Node) -> Iterator[Pods]:
    """Those that are left are removed in the end. Raises AssertionError: then something else of them is still there."""
    before = holdings(node)
    made = Pods(node)
    yield made
    made.remove_all()
    assert_nothing_beyond(node, before)
