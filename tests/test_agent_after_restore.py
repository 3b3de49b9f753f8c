"""The hook after a restore: run once for a container, by whichever agent, and in no agent's way."""

import json
import os
import signal
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
from glowplug.agent import after_restore, policy
from glowplug.agent.after_restore import AfterRestore
from glowplug.agent.candidate import Candidate
from glowplug.checkpoint import bundle
from glowplug.containerd import methods
from glowplug.containerd.client import Containerd
from glowplug.containerd.cri import Cri
from glowplug.containerd.protos import containers_pb2, tasks_pb2

ID = "c0" * 32
WITHIN_S = 20.0


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A containerd whose container runs."""
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(after_restore, "CONTAINERD_BACK_S", 0.05)
    os.makedirs(tmp_path / "runc" / ID)
    server = Served(f"{tmp_path}/socket")
    server.answer(methods.GET_CONTAINER, containers_pb2.GetContainerResponse(container={"id": ID}))
    server.answer(methods.GET_TASK, tasks_pb2.GetResponse(process={"id": ID, "pid": 1, "status": "RUNNING"}))
    server.answer(methods.KILL_TASK, Empty())
    yield server
    server.stop()


@pytest.fixture
def containerd(served: Served) -> Iterator[Containerd]:
    with Containerd(served.socket, timeout_s=10) as made:
        yield made


def begin(served: Served, containerd: Containerd, directory: Path, hook: str = "signal:USR1") -> AfterRestore:
    """As an agent does that sees the restored container for the first time."""
    facts = bundle.read({"annotations": {"glowplug.dev/after-restore": hook}})
    seen = Candidate(containerd.container(ID), facts, str(directory / "runc"), None, True)
    made = AfterRestore(containerd, Cri(served.socket))
    made.begin(seen, policy.of(facts, "ready"))
    return made


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def told() -> list[dict[str, Any]]:
    found = [json.loads(file.read_text()) for file in Path(paths.spool()).glob("*.json")]
    return [one for one in found if one["event"] == "after-restore"]


def signals(served: Served) -> list[int]:
    return [one.signal for one in served.requests if isinstance(one, tasks_pb2.KillRequest)]


def at_work() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "after-restore"]


def test_it_is_run_once_however_many_agents_see_the_container(
    served: Served, containerd: Containerd, tmp_path: Path
) -> None:
    """Also when the history holds nothing of it any more."""
    begin(served, containerd, tmp_path)
    until(lambda: os.path.exists(paths.hooked(str(tmp_path / "runc"), ID)))
    assert [one["result"] for one in told()] == ["done"]
    for file in Path(paths.spool()).iterdir():
        file.unlink()
    until(lambda: not at_work())
    begin(served, containerd, tmp_path)
    assert at_work() == []
    assert signals(served) == [signal.SIGUSR1]


def test_a_containerd_that_is_away_is_waited_for(
    served: Served, containerd: Containerd, tmp_path: Path
) -> None:
    answers = iter([True, True, False])

    def answer(_: Any, context: grpc.ServicerContext) -> tasks_pb2.GetResponse:
        if next(answers):
            context.abort(grpc.StatusCode.UNAVAILABLE, "it restarts")
        return tasks_pb2.GetResponse(process={"id": ID, "pid": 1, "status": "RUNNING"})

    served.answer(methods.GET_TASK, answer)
    begin(served, containerd, tmp_path)
    until(told)
    assert [one["result"] for one in told()] == ["done"]


def test_one_that_fails_is_told_and_not_repeated(
    served: Served, containerd: Containerd, tmp_path: Path
) -> None:
    served.answer(methods.KILL_TASK, refuse(grpc.StatusCode.UNKNOWN, "no"))
    begin(served, containerd, tmp_path)
    until(lambda: os.path.exists(paths.hooked(str(tmp_path / "runc"), ID)))
    assert [one["result"] for one in told()] == ["failed"]


def test_one_that_was_under_way_when_the_agent_stopped_is_the_next_ones(
    served: Served, containerd: Containerd, tmp_path: Path
) -> None:
    served.answer(methods.EXEC_SYNC, served.hang)
    first = begin(served, containerd, tmp_path, "exec:wake up")
    until(lambda: any(type(one).__name__ == "ExecSyncRequest" for one in served.requests))
    assert at_work() and all(one.daemon for one in at_work())  # the process ends without it
    first.close()
    served.stopping.set()  # the call ends now, and not well
    begin(served, containerd, tmp_path)
    until(lambda: signals(served))
    until(told)
    assert [one["result"] for one in told()] == ["done"]
