"""The hook after a capture: its turn comes whatever happened, and what it met is told."""

import errno
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from tests.containerd_served import Served, refuse

from glowplug import paths
from glowplug.agent import capturing, policy
from glowplug.agent.capture_task import Task
from glowplug.agent.running import Running
from glowplug.capture import pipeline
from glowplug.capture.request import Request, Result
from glowplug.config import Config
from glowplug.containerd import methods
from glowplug.containerd.protos import tasks_pb2
from glowplug.errors import CriuError

RUNNING = Running("c0" * 32, 1, "", "")


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    before = signal.getsignal(signal.SIGTERM)
    server = Served(f"{tmp_path}/socket")
    yield server
    server.stop()
    signal.signal(signal.SIGTERM, before)


def told(served: Served, before: str, after: str) -> dict[str, Any]:
    """What is recorded of a capture with these hooks."""
    task = Task(
        config=Config(containerd_socket=served.socket),
        request=Request("models", "web", "main", container_id=RUNNING.id),
        running=RUNNING,
        runc_root="/r",
        pod_uid="uid",
        before=policy.hook(before),
        after=policy.hook(after),
        hook_timeout_s=5.0,
        gpu=False,
        end=False,
    )
    capturing.run(task)
    (file,) = Path(paths.spool()).iterdir()
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def signals(served: Served) -> list[int]:
    return [one.signal for one in served.requests if isinstance(one, tasks_pb2.KillRequest)]


def test_a_hook_after_the_capture_that_fails_is_told_with_the_capture(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "run", lambda *_: Result("ab" * 16, "models", "web", "main", 0.4, 7))
    served.answer(methods.KILL_TASK, refuse(grpc.StatusCode.UNKNOWN, "no such process"))
    found = told(served, "signal:USR1", "signal:USR2")
    assert found["result"] == "failed"
    assert found["detail"].startswith("signal: ") and "; after-capture: signal: " in found["detail"]

    for file in Path(paths.spool()).iterdir():
        file.unlink()
    served.answer(methods.KILL_TASK, lambda asked, context: _only(signal.SIGUSR1, asked, context))
    found = told(served, "signal:USR1", "signal:USR2")
    assert found["result"] == "captured" and found["detail"].startswith("after-capture: signal: ")


def test_it_has_its_turn_after_a_capture_that_failed(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise CriuError("broke")

    monkeypatch.setattr(pipeline, "run", fail)
    served.answer(methods.KILL_TASK, Empty())
    found = told(served, "signal:USR1", "signal:USR2")
    assert (found["result"], found["detail"]) == ("failed", "broke")
    assert signals(served) == [signal.SIGUSR1, signal.SIGUSR2]


def test_what_the_system_refuses_is_told_in_its_words(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error", "/var/lib/glowplug/drafts/x")

    monkeypatch.setattr(pipeline, "run", fail)
    served.answer(methods.KILL_TASK, Empty())
    found = told(served, "signal:USR1", "signal:USR2")
    assert found["result"] == "failed" and "Input/output error" in found["detail"]
    assert signals(served) == [signal.SIGUSR1, signal.SIGUSR2]


def _only(number: int, asked: Any, context: grpc.ServicerContext) -> Empty:
    if asked.signal != number:
        context.abort(grpc.StatusCode.UNKNOWN, "no such process")
    return Empty()
