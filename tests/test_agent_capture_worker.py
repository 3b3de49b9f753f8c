"""The hook after a capture: its turn comes whatever happened, and what it met is reported."""

import errno
import fcntl
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from tests.capture_made import RUNNING, made_loop, made_task
from tests.containerd_served import Served, refuse

from glowplug import paths
from glowplug.agent.captures import worker
from glowplug.agent.loop import captures
from glowplug.agent.loop.row import Row, State
from glowplug.capture import pipeline, policy
from glowplug.capture.preflight.require import MOMENTARY
from glowplug.capture.request import Request, Result
from glowplug.config import Config
from glowplug.containerd import methods
from glowplug.containerd.protos import tasks_pb2
from glowplug.errors import CaptureRefused, CriuError


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(pipeline, "look", lambda config, request, is_engine: None)
    server = Served(f"{tmp_path}/socket")
    yield server
    server.stop()
    signal.signal(signal.SIGTERM, before)


def reported(served: Served, before: str, after: str) -> dict[str, Any]:
    """What is recorded of a capture with these hooks."""
    task = made_task(
        Config(containerd_socket=served.socket), before=policy.hook(before), after=policy.hook(after)
    )
    answer = worker.run(task)
    if answer.get("passing"):
        assert not Path(paths.spool()).exists(), "put on record"
        return answer
    (file,) = Path(paths.spool()).iterdir()
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def signals(served: Served) -> list[int]:
    return [one.signal for one in served.requests if isinstance(one, tasks_pb2.KillRequest)]


def test_a_hook_after_the_capture_that_fails_is_reported_with_the_capture(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "run", lambda *_: Result("ab" * 16, "models", "web", "main", 0.4, 7))
    served.answer(methods.KILL_TASK, refuse(grpc.StatusCode.UNKNOWN, "no such process"))
    found = reported(served, "signal:USR1", "signal:USR2")
    assert found["result"] == "failed"
    assert found["detail"].startswith("signal: ") and "; after-capture: signal: " in found["detail"]

    for file in Path(paths.spool()).iterdir():
        file.unlink()
    served.answer(methods.KILL_TASK, lambda probed, context: _only(signal.SIGUSR1, probed, context))
    found = reported(served, "signal:USR1", "signal:USR2")
    assert found["result"] == "captured" and found["detail"].startswith("after-capture: signal: ")


def test_an_engine_is_woken_before_its_images_are_rewritten(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, with its journal saying that it has no hook to come, and with no slot taken meanwhile."""
    before_rewriting: list[tuple[list[int], object]] = []
    slots_free: list[bool] = []

    def hook(probed: Any, context: grpc.ServicerContext) -> Empty:
        (lock,) = Path(paths.capture_slots()).iterdir() if probed.signal == signal.SIGUSR2 else [None]
        if lock is not None:
            with lock.open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            slots_free.append(True)
        return Empty()

    def run(config: Config, request: Request, report: Any, probed: None) -> Result:
        for step in ("find", "space", "freeze"):
            report(step, "")
        assert signals(served) == [signal.SIGUSR1]
        report("rewrite", "")
        journal = json.loads(Path(paths.capturing_one(RUNNING.id), "journal.json").read_text())
        before_rewriting.append((signals(served), journal["after"]))
        return Result("ab" * 16, "models", "web", "main", 0.4, 7)

    monkeypatch.setattr(pipeline, "run", run)
    served.answer(methods.KILL_TASK, hook)
    found = reported(served, "signal:USR1", "signal:USR2")
    assert before_rewriting == [([signal.SIGUSR1, signal.SIGUSR2], None)]
    assert slots_free == [True] and signals(served) == [signal.SIGUSR1, signal.SIGUSR2]
    assert found["result"] == "captured" and found["phases"]["asleep"] > 0


def test_one_that_is_stopped_while_it_wakes_an_engine_is_undone(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrote: list[bool] = []

    def hook(probed: Any, context: grpc.ServicerContext) -> Empty:
        if probed.signal == signal.SIGUSR2:
            os.kill(os.getpid(), signal.SIGTERM)
        return Empty()

    def run(config: Config, request: Request, report: Any, probed: None) -> None:
        report("space", "")
        report("rewrite", "")
        rewrote.append(True)

    monkeypatch.setattr(pipeline, "run", run)
    served.answer(methods.KILL_TASK, hook)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as worker.main() has it
    try:
        with pytest.raises(KeyboardInterrupt):
            reported(served, "signal:USR1", "signal:USR2")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert rewrote == [] and signals(served) == [signal.SIGUSR1, signal.SIGUSR2]
    assert not Path(paths.capturing_one(RUNNING.id)).exists()


def test_it_has_its_turn_after_a_capture_that_failed(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise CriuError("broke")

    monkeypatch.setattr(pipeline, "run", fail)
    served.answer(methods.KILL_TASK, Empty())
    found = reported(served, "signal:USR1", "signal:USR2")
    assert (found["result"], found["detail"]) == ("failed", "broke")
    assert signals(served) == [signal.SIGUSR1, signal.SIGUSR2]


def test_what_the_system_refuses_is_reported_in_its_words(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error", "/var/lib/glowplug/drafts/x")

    monkeypatch.setattr(pipeline, "run", fail)
    served.answer(methods.KILL_TASK, Empty())
    found = reported(served, "signal:USR1", "signal:USR2")
    assert found["result"] == "failed" and "Input/output error" in found["detail"]
    assert signals(served) == [signal.SIGUSR1, signal.SIGUSR2]


def test_a_container_that_is_refused_by_its_spec_is_not_touched(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine would sleep for it, and load its weights again."""

    def refuse_it(*_: object, is_engine: bool) -> None:
        assert not is_engine
        raise CaptureRefused("changed", "not as it was at its start")

    monkeypatch.setattr(pipeline, "look", refuse_it)
    served.answer(methods.KILL_TASK, Empty())
    found = reported(served, "signal:USR1", "signal:USR2")
    assert (found["result"], found["slug"]) == ("refused", "changed")
    assert signals(served) == []


def test_an_error_is_reported_even_where_the_refusal_itself_may_pass(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_it(*_: object) -> None:
        served.answer(methods.KILL_TASK, refuse(grpc.StatusCode.UNKNOWN, "no such process"))
        raise CaptureRefused("no-space", "there is no space now")

    monkeypatch.setattr(pipeline, "run", refuse_it)
    served.answer(methods.KILL_TASK, Empty())
    found = reported(served, "signal:USR1", "signal:USR2")
    assert found["detail"].startswith("there is no space now; after-capture: signal: ")


@pytest.mark.parametrize("slug", sorted(MOMENTARY))
def test_what_is_over_in_a_while_is_no_failed_capture_and_is_tried_again_soon(
    served: Served, monkeypatch: pytest.MonkeyPatch, slug: str
) -> None:
    """No long rest of the workload, and nothing on record as long as it may pass."""

    def refuse_it(*_: object) -> None:
        raise CaptureRefused(slug, "this container can't be captured: try again")

    monkeypatch.setattr(pipeline, "run", refuse_it)
    served.answer(methods.KILL_TASK, Empty())
    answer = reported(served, "signal:USR1", "signal:USR2")
    assert (answer["passing"], answer["reported"], answer["slug"]) == (True, False, slug)

    parts, case, learned = made_loop(monkeypatch, None, answer, within_s=600)
    waits = []
    for _ in range(3):
        following = captures.capture(parts, Row("c", case=case))
        assert following.state is State.READY
        waits.append(following.after_s)
    assert waits == [5.0, 10.0, 20.0] and learned == []


def _only(number: int, probed: Any, context: grpc.ServicerContext) -> Empty:
    if probed.signal != number:
        context.abort(grpc.StatusCode.UNKNOWN, "no such process")
    return Empty()
