"""The loop over the table of containers: each is looked at, whatever was missed, and ends where its pod wants that."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from tests.containerd_served import Served, refuse

from glowplug import paths
from glowplug.agent.captures import hooks
from glowplug.agent.captures.children import Children
from glowplug.agent.learned import Learned
from glowplug.agent.loop import loop as loops
from glowplug.agent.loop.loop import Loop
from glowplug.agent.loop.parts import Parts
from glowplug.agent.loop.row import Next, Row, State
from glowplug.agent.serving.resolve import Resolver
from glowplug.cache.store import Store
from glowplug.capture import judged
from glowplug.config import Config
from glowplug.containerd import methods
from glowplug.containerd.client import Containerd
from glowplug.containerd.cri import Cri
from glowplug.containerd.events import Event
from glowplug.containerd.protos import containers_pb2, runc_options_pb2, tasks_pb2
from glowplug.host import facts
from glowplug.outcomes.history import History

ID = "c0" * 32
WITHIN_S = 60.0
Made = Callable[[], Loop]


@pytest.fixture
def namespaces() -> list[str]:
    """Those of pods that were seen."""
    return []


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A containerd that has one container of our handler, made and not started."""
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(hooks, "WAKE_AGAIN_S", 0.01)
    monkeypatch.setattr(loops, "LIST_AGAIN_S", 0.05)
    server = Served(f"{tmp_path}/socket")
    server.answer(methods.GET_TASK, refuse(grpc.StatusCode.NOT_FOUND, "no task"))
    server.answer(methods.LIST_TASKS, tasks_pb2.ListTasksResponse())
    server.answer(methods.KILL_TASK, Empty())
    yield server
    server.stop()


@pytest.fixture
def workload() -> Iterator[subprocess.Popen[bytes]]:
    """Stands for a container's first process."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


@pytest.fixture
def agent(served: Served, tmp_path: Path, namespaces: list[str]) -> Iterator[Made]:
    """Begins the loop of an agent; those that were begun are closed in the end."""
    made: list[Loop] = []
    config = Config(
        cache=str(tmp_path / "cache"), containerd_socket=served.socket, runc_root=str(tmp_path / "runc")
    )
    store, history, learned = Store(config.cache), History(config.cache), Learned(config.cache)
    with Containerd(served.socket, timeout_s=10) as containerd, Cri(served.socket) as cri:
        resolver = Resolver(config, containerd, store, history, facts.read(None), learned)

        def begin() -> Loop:
            parts = Parts(
                *(config, containerd, cri, store, resolver, learned, Children()),
                read_ahead=lambda _: None,
                saw_namespace=namespaces.append,
                began=time.monotonic(),
            )
            made.append(Loop(parts, lambda: None))
            made[-1].start()
            return made[-1]

        yield begin
        for one in made:
            if one.is_alive():
                one.close()


def serve(served: Served, container_type: str = "container", **annotations: str) -> None:
    """The container, or its pod's sandbox, with these annotations of the pod."""
    own = {f"glowplug.dev/{name.replace('_', '-')}": text for name, text in annotations.items()}
    cri = {
        "io.kubernetes.cri.container-type": container_type,
        "io.kubernetes.cri.container-name": "main",
        "io.kubernetes.cri.sandbox-name": "web",
        "io.kubernetes.cri.sandbox-namespace": "models",
    }
    made = containers_pb2.Container(id=ID)
    made.spec.value = json.dumps({"annotations": {**cri, **own}}).encode()
    made.runtime.name = "io.containerd.runc.v2"
    made.runtime.options.value = runc_options_pb2.Options(
        binary_name="/opt/glowplug/bin/glowplug-runtime"
    ).SerializeToString()
    served.answer(methods.GET_CONTAINER, containers_pb2.GetContainerResponse(container=made))


def runs(served: Served, pid: int) -> None:
    """From now on it does."""
    process = {"id": ID, "pid": pid, "status": "RUNNING"}
    served.answer(methods.GET_TASK, tasks_pb2.GetResponse(process=process))
    served.answer(methods.LIST_TASKS, tasks_pb2.ListTasksResponse(tasks=[process]))


def restored(tmp_path: Path) -> str:
    """It came from a checkpoint. The file that says that it was woken."""
    os.makedirs(tmp_path / "runc" / "k8s.io" / ID, exist_ok=True)
    (tmp_path / "runc" / "k8s.io" / ID / "glowplug").touch()
    return paths.hooked(str(tmp_path / "runc" / "k8s.io"), ID)


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def signals(served: Served) -> list[int]:
    return [one.signal for one in served.requests if isinstance(one, tasks_pb2.KillRequest)]


def reported() -> list[str]:
    """Results of wakings, in the spool."""
    found = [json.loads(file.read_text()) for file in sorted(Path(paths.spool()).glob("*.json"))]
    return [one["result"] for one in found if one.get("event") == "after-restore"]


def test_one_that_is_started_under_the_agent_is_woken(
    served: Served, agent: Made, tmp_path: Path, workload: subprocess.Popen[bytes]
) -> None:
    """A restore takes its time within `create`; who is restored then is woken all the same."""
    serve(served, after_restore="signal:USR1")
    loop = agent()
    loop.note(Event(time.time(), "/containers/create", ID))
    until(lambda: [one for one in served.requests if isinstance(one, containers_pb2.GetContainerRequest)])
    hooked = restored(tmp_path)
    runs(served, workload.pid)
    loop.note(Event(time.time(), "/tasks/start", ID))
    until(lambda: os.path.exists(hooked))
    assert signals(served) == [signal.SIGUSR1]
    assert reported() == ["done"]


def test_a_list_alone_finds_it_also_when_the_first_ones_are_refused(
    served: Served, agent: Made, tmp_path: Path, workload: subprocess.Popen[bytes]
) -> None:
    serve(served, after_restore="signal:USR1")
    hooked = restored(tmp_path)
    runs(served, workload.pid)
    refusals = iter([True, True])
    complete = tasks_pb2.ListTasksResponse(tasks=[{"id": ID, "pid": workload.pid, "status": "RUNNING"}])

    def answer(_: Any, context: grpc.ServicerContext) -> tasks_pb2.ListTasksResponse:
        if next(refusals, False):
            context.abort(grpc.StatusCode.UNAVAILABLE, "it restarts")
        return complete

    served.answer(methods.LIST_TASKS, answer)
    agent()
    until(lambda: os.path.exists(hooked))
    assert reported() == ["done"]


def test_one_that_nothing_is_wanted_of_is_awake_at_once_and_that_is_reported_once(
    served: Served, agent: Made, tmp_path: Path, workload: subprocess.Popen[bytes]
) -> None:
    serve(served)
    hooked = restored(tmp_path)
    runs(served, workload.pid)
    agent().close()
    first = agent()
    until(lambda: os.path.exists(hooked))
    first.close()
    agent().look_at_all()
    until(lambda: len([one for one in served.requests if isinstance(one, tasks_pb2.ListTasksRequest)]) >= 2)
    assert reported() == ["none"]


def test_a_hook_that_fails_is_repeated(
    served: Served, agent: Made, tmp_path: Path, workload: subprocess.Popen[bytes]
) -> None:
    serve(served, after_restore="signal:USR1")
    hooked = restored(tmp_path)
    runs(served, workload.pid)
    failures = iter([True, True])

    def answer(_: Any, context: grpc.ServicerContext) -> Empty:
        if next(failures, False):
            context.abort(grpc.StatusCode.UNKNOWN, "no")
        return Empty()

    served.answer(methods.KILL_TASK, answer)
    agent()
    until(lambda: os.path.exists(hooked))
    assert reported() == ["done"]
    assert len(signals(served)) == 3
    assert workload.poll() is None


def test_one_that_can_not_be_woken_is_ended_so_that_it_starts_cold(
    served: Served, agent: Made, tmp_path: Path, workload: subprocess.Popen[bytes]
) -> None:
    serve(served, after_restore="signal:USR1")
    restored(tmp_path)
    runs(served, workload.pid)
    served.answer(methods.KILL_TASK, refuse(grpc.StatusCode.UNKNOWN, "no"))
    agent()
    assert workload.wait(WITHIN_S) == -signal.SIGKILL
    assert reported() == ["failed"]
    assert len(signals(served)) == hooks.TRIES


def test_a_hook_that_hangs_delays_no_list_and_no_agent_that_stops(
    served: Served, agent: Made, tmp_path: Path, workload: subprocess.Popen[bytes]
) -> None:
    serve(served, after_restore="exec:wake up")
    restored(tmp_path)
    runs(served, workload.pid)
    served.answer(methods.EXEC_SYNC, served.hang)
    loop = agent()
    until(lambda: any(type(one).__name__ == "ExecSyncRequest" for one in served.requests))
    lists = len([one for one in served.requests if isinstance(one, tasks_pb2.ListTasksRequest)])
    loop.look_at_all()
    until(
        lambda: len([one for one in served.requests if isinstance(one, tasks_pb2.ListTasksRequest)]) > lists
    )
    assert all(heart.is_alive for heart in loop.hearts)
    loop.close()
    assert all(one.daemon for one in threading.enumerate() if one.name == "wakings")
    served.stopping.set()


def test_a_warm_up_pod_whose_annotations_can_t_be_understood_ends(
    served: Served, agent: Made, workload: subprocess.Popen[bytes]
) -> None:
    """Or its Job would wait for nobody."""
    serve(served, capture="once-and-exit", containers="main", ready="garbage")
    runs(served, workload.pid)
    agent()
    assert workload.wait(WITHIN_S) == -signal.SIGKILL


def test_what_an_agent_decided_the_next_one_puts_on_record_no_more(
    served: Served, agent: Made, workload: subprocess.Popen[bytes]
) -> None:
    serve(served, containers="main", ready="garbage")
    runs(served, workload.pid)

    def refusals() -> list[str]:
        found = [json.loads(file.read_text()) for file in Path(paths.spool()).glob("*.json")]
        return [one["result"] for one in found if one.get("event") == "capture"]

    def queries() -> int:
        return len([one for one in served.requests if isinstance(one, tasks_pb2.GetRequest)])

    first = agent()
    until(lambda: judged.is_decided(ID))
    first.close()
    before = queries()
    agent()
    until(lambda: queries() > before)
    assert refusals() == ["refused"]


def test_a_container_that_went_is_forgotten_with_its_judgement(served: Served, agent: Made) -> None:
    served.answer(methods.GET_CONTAINER, refuse(grpc.StatusCode.NOT_FOUND, "gone"))
    os.makedirs(paths.judgements())
    Path(paths.judgement("gone")).touch()
    agent()
    until(lambda: not os.path.exists(paths.judgement("gone")))


def test_a_step_that_fails_is_repeated_without_a_list(
    served: Served,
    agent: Made,
    tmp_path: Path,
    workload: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """containerd was away for a moment, or we made a mistake: nobody is forgotten."""
    serve(served, after_restore="signal:USR1")
    hooked = restored(tmp_path)
    runs(served, workload.pid)
    monkeypatch.setattr(loops, "LIST_EVERY_S", 3600.0)
    monkeypatch.setattr(loops, "ERROR_AGAIN_S", 0.01)
    consider, mistakes = loops.STEPS[State.CREATED], iter([OSError(5, "away"), ZeroDivisionError()])

    def failing(parts: Parts, row: Row) -> Next:
        for mistake in mistakes:
            raise mistake
        return consider(parts, row)

    monkeypatch.setitem(loops.STEPS, State.CREATED, failing)
    agent()
    until(lambda: os.path.exists(hooked))
    assert reported() == ["done"]


def test_the_namespace_of_a_pod_is_seen_with_its_sandbox(
    served: Served, agent: Made, namespaces: list[str]
) -> None:
    """Before its first container starts, for which the uid must be known."""
    serve(served, "sandbox")
    agent().note(Event(time.time(), "/containers/create", ID))
    until(lambda: namespaces)
    assert namespaces == ["models"]
