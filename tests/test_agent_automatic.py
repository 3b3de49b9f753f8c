"""Containers that the agent sees: each has its turn, whenever the agent came, and ends where its pod wants that."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from tests.containerd_served import Served, refuse

from glowplug import paths
from glowplug.agent.automatic import Automatic
from glowplug.agent.judge import Judge
from glowplug.agent.newcomers import Newcomers
from glowplug.agent.rates import Rates
from glowplug.cache.store import Store
from glowplug.config import Config
from glowplug.containerd import methods
from glowplug.containerd.client import Containerd
from glowplug.containerd.events import Event
from glowplug.containerd.protos import containers_pb2, runc_options_pb2, tasks_pb2
from glowplug.containerd.records import KIND_LABEL
from glowplug.host import facts

ID = "c0" * 32
WITHIN_S = 20.0


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A containerd that has one container of our handler, made and not started."""
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    server = Served(f"{tmp_path}/socket")
    server.answer(methods.GET_TASK, refuse(grpc.StatusCode.NOT_FOUND, "no task"))
    server.answer(methods.KILL_TASK, Empty())
    yield server
    server.stop()


@pytest.fixture
def automatic(served: Served, tmp_path: Path) -> Iterator[Automatic]:
    config = Config(
        cache=str(tmp_path / "cache"), containerd_socket=served.socket, runc_root=str(tmp_path / "runc")
    )
    store = Store(config.cache)
    with Containerd(served.socket, timeout_s=10) as containerd:
        judge = Judge(config, containerd, store, facts.read(None), Rates(()))
        made = Automatic(config, containerd, Newcomers(containerd), store, judge)
        made.start()
        yield made
        made.close()


def serve(served: Served, **annotations: str) -> None:
    """The container, with these annotations of its pod."""
    own = {f"glowplug.dev/{name.replace('_', '-')}": text for name, text in annotations.items()}
    cri = {
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.container-name": "main",
        "io.kubernetes.cri.sandbox-name": "web",
        "io.kubernetes.cri.sandbox-namespace": "models",
    }
    made = containers_pb2.Container(id=ID, labels={KIND_LABEL: "container"})
    made.spec.value = json.dumps({"annotations": {**cri, **own}}).encode()
    made.runtime.name = "io.containerd.runc.v2"
    made.runtime.options.value = runc_options_pb2.Options(
        binary_name="/opt/glowplug/bin/glowplug-runtime"
    ).SerializeToString()
    served.answer(methods.GET_CONTAINER, containers_pb2.GetContainerResponse(container=made))
    served.answer(methods.LIST_CONTAINERS, containers_pb2.ListContainersResponse(containers=[made]))


def runs(served: Served, pid: int = 1) -> None:
    """From now on it does."""
    served.answer(
        methods.GET_TASK, tasks_pb2.GetResponse(process={"id": ID, "pid": pid, "status": "RUNNING"})
    )


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def asked(served: Served, kind: type[Any]) -> list[Any]:
    return [one for one in served.requests if isinstance(one, kind)]


def test_one_that_was_made_before_the_agent_came_and_is_started_after_has_its_turn(
    served: Served, automatic: Automatic, tmp_path: Path
) -> None:
    """A restore takes its time within `create`; who is restored then is woken all the same."""
    serve(served, after_restore="signal:USR1")
    automatic.catch_up()
    until(lambda: asked(served, containers_pb2.GetContainerRequest))
    os.makedirs(tmp_path / "runc" / "k8s.io" / ID)
    (tmp_path / "runc" / "k8s.io" / ID / "glowplug").touch()
    runs(served)
    automatic.started(Event(time.time(), "/tasks/start", ID))
    until(lambda: asked(served, tasks_pb2.KillRequest))
    assert [one.signal for one in asked(served, tasks_pb2.KillRequest)] == [signal.SIGUSR1]


def test_a_warm_up_pod_whose_annotations_can_t_be_understood_ends(
    served: Served, automatic: Automatic
) -> None:
    """Or its Job would wait for nobody."""
    with subprocess.Popen(["sleep", "600"]) as workload:
        serve(served, capture="once-and-exit", containers="main", ready="garbage")
        runs(served, workload.pid)
        automatic.started(Event(time.time(), "/tasks/start", ID))
        try:
            assert workload.wait(WITHIN_S) == -signal.SIGKILL
        finally:
            workload.kill()
