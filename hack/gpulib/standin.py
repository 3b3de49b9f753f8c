"""Stands for containerd on a machine that has none: answers what the agent and a capture ask, about plain
runc.

The agent, the runtime and the command line run as they are; only the daemon beside them is another. It
knows the containers that `pods` makes, and no image: the chain ID is of the directory that they all stand
on.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from glowplug.containerd import methods
from glowplug.containerd.protos import containers_pb2, snapshots_pb2, tasks_pb2, version_pb2
from glowplug.containerd.records import METADATA_EXTENSION, METADATA_VERSION

_CONDITION = re.compile(r'labels\."([^"]+)"=="([^"]*)"')


@dataclass(slots=True)
class Known:
    """A container that this daemon knows. pid: 0 before it was made."""

    id: str
    spec: dict[str, Any]
    labels: dict[str, str]
    overlay: tuple[str, ...]
    pid: int = 0
    exit_status: int | None = None


@dataclass(slots=True)
class Daemon:
    """Serves on a Unix socket between start() and stop()."""

    socket: str
    runc: str
    runc_root: str
    chain_id: str
    containers: dict[str, Known] = field(default_factory=dict)
    _server: grpc.Server | None = None
    _stopping: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Listens when it returns."""
        self._server = grpc.server(futures.ThreadPoolExecutor(16))
        self._server.add_generic_rpc_handlers((_Handler(self),))
        self._server.add_insecure_port(f"unix:{self.socket}")
        self._server.start()

    def stop(self) -> None:
        """Ends every call."""
        self._stopping.set()
        if self._server is not None:
            self._server.stop(1).wait(5)

    def version(self, _request: Empty) -> version_pb2.VersionResponse:
        return version_pb2.VersionResponse(version="gpu-check", revision="")

    def get_container(
        self, request: containers_pb2.GetContainerRequest
    ) -> containers_pb2.GetContainerResponse:
        return containers_pb2.GetContainerResponse(container=_record(self._of(request.id)))

    def list_containers(
        self, request: containers_pb2.ListContainersRequest
    ) -> containers_pb2.ListContainersResponse:
        wanted = [_CONDITION.findall(one) for one in request.filters]
        fits = [
            known
            for known in self.containers.values()
            if not wanted or any(all(known.labels.get(k) == v for k, v in one) for one in wanted)
        ]
        return containers_pb2.ListContainersResponse(containers=map(_record, fits))

    def stat_snapshot(self, request: snapshots_pb2.StatSnapshotRequest) -> snapshots_pb2.StatSnapshotResponse:
        self._of(request.key)
        info = snapshots_pb2.Info(name=request.key, parent=self.chain_id)
        return snapshots_pb2.StatSnapshotResponse(info=info)

    def mounts(self, request: snapshots_pb2.MountsRequest) -> snapshots_pb2.MountsResponse:
        answer = snapshots_pb2.MountsResponse()
        answer.mounts.add(type="overlay", source="overlay", options=self._of(request.key).overlay)
        return answer

    def get_task(self, request: tasks_pb2.GetRequest) -> tasks_pb2.GetResponse:
        known = self._of(request.container_id)
        if not known.pid:
            raise KeyError(f"no task {known.id}")
        return tasks_pb2.GetResponse(process=self._process(known))

    def list_tasks(self, _request: tasks_pb2.ListTasksRequest) -> tasks_pb2.ListTasksResponse:
        running = [self._process(known) for known in self.containers.values() if known.pid]
        return tasks_pb2.ListTasksResponse(tasks=running)

    def kill(self, request: tasks_pb2.KillRequest) -> Empty:
        known = self._of(request.container_id)
        os.kill(known.pid, request.signal or signal.SIGTERM)
        return Empty()

    def subscribe(self, _request: object) -> Iterator[Any]:
        self._stopping.wait()
        yield from ()

    def _of(self, container_id: str) -> Known:
        return self.containers[container_id]

    def _process(self, known: Known) -> Any:
        process = tasks_pb2.GetResponse().process
        process.id, process.pid = known.id, known.pid
        process.status = getattr(tasks_pb2, self._status(known))
        process.exit_status = known.exit_status or 0
        return process

    def _status(self, known: Known) -> str:
        done = subprocess.run(
            [self.runc, "--root", self.runc_root, "state", known.id],
            capture_output=True,
            text=True,
            timeout=20,
        )
        status = json.loads(done.stdout)["status"] if done.returncode == 0 else "stopped"
        return str(status).upper()


class _Handler(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # grpcio's class is generic in its stubs only
    """The daemon's methods by gRPC path."""

    def __init__(self, daemon: Daemon) -> None:
        table: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
            (methods.VERSION, daemon.version),
            (methods.GET_CONTAINER, daemon.get_container),
            (methods.LIST_CONTAINERS, daemon.list_containers),
            (methods.STAT_SNAPSHOT, daemon.stat_snapshot),
            (methods.SNAPSHOT_MOUNTS, daemon.mounts),
            (methods.GET_TASK, daemon.get_task),
            (methods.LIST_TASKS, daemon.list_tasks),
            (methods.KILL_TASK, daemon.kill),
        )
        self._calls = {method.path: _unary(method, call) for method, call in table}
        self._calls[methods.SUBSCRIBE.path] = grpc.unary_stream_rpc_method_handler(
            lambda request, _context: daemon.subscribe(request),
            request_deserializer=methods.SUBSCRIBE.request.FromString,
            response_serializer=lambda answer: answer.SerializeToString(),
        )

    def service(self, handler_call_details: Any) -> Any:
        return self._calls.get(handler_call_details.method)


def _unary(method: Any, call: Callable[[Any], Any]) -> Any:
    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return call(request)
        except KeyError as error:
            context.abort(grpc.StatusCode.NOT_FOUND, str(error))

    return grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=method.request.FromString,
        response_serializer=lambda found: found.SerializeToString(),
    )


def _record(known: Known) -> containers_pb2.Container:
    record = containers_pb2.Container(
        id=known.id,
        labels=known.labels,
        image="gpu-check",
        snapshotter="overlayfs",
        snapshot_key=known.id,
    )
    record.runtime.name = "io.containerd.runc.v2"
    record.spec.value = json.dumps(known.spec).encode()
    annotations = known.spec["annotations"]
    metadata = {
        "SandboxID": annotations["io.kubernetes.cri.sandbox-id"],
        "ImageName": "gpu-check",
        "Config": {"metadata": {"name": annotations["io.kubernetes.cri.container-name"]}},
    }
    cri = {"Version": METADATA_VERSION, "Metadata": metadata}
    record.extensions[METADATA_EXTENSION].value = json.dumps(cri).encode()
    return record
