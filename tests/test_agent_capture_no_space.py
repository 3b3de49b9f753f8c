"""A cache that has no room: a pod that waits for its capture at the readiness gate is let go within a minute."""

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from glowplug import paths
from glowplug.agent.captures import worker
from glowplug.agent.captures.running import Running
from glowplug.agent.captures.task import Task
from glowplug.agent.loop import captures
from glowplug.agent.loop.row import Row, State
from glowplug.capture.request import Request
from glowplug.config import Config
from glowplug.errors import NoSpace

RUNNING = Running("c0" * 32, 1, "", "")


def test_it_is_tried_again_a_few_times_and_then_put_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    task = Task(
        config=Config(),
        request=Request("models", "web", "main", container_id=RUNNING.id),
        running=RUNNING,
        runc_root="/r",
        pod_uid="uid",
        before=None,
        after=None,
        hook_timeout_s=5.0,
        gpu=False,
        end=False,
    )
    answer = worker._not_captured(task, NoSpace("the cache has room for 2 MB, and it takes 22 MB"), [])
    rests: list[str] = []
    parts: Any = SimpleNamespace(
        learned=SimpleNamespace(
            require_capture=lambda workload: None,
            not_captured=lambda judgement, slug: rests.append(slug),
        ),
        children=SimpleNamespace(capture=lambda task: answer),
        config=None,
        decided=lambda candidate: None,
        end_if_wanted=lambda *_, **__: None,
    )
    case: Any = SimpleNamespace(
        judgement=SimpleNamespace(workload="w"),
        running=RUNNING,
        candidate=SimpleNamespace(started=None),
        policy=SimpleNamespace(ready=None, when="once"),
        last_no=None,
        tries=0,
        until=time.monotonic() + 1800,
    )
    monkeypatch.setattr(captures, "has_ended", lambda pid: False)
    monkeypatch.setattr(captures, "_has_checkpoint", lambda parts, case: False)
    monkeypatch.setattr("glowplug.agent.captures.turn.task", lambda *_: task)
    waited = 0.0
    while (following := captures.capture(parts, Row("c", case=case))).state is State.READY:
        waited += following.after_s
        assert waited < 60
    (file,) = Path(paths.spool()).iterdir()
    found = json.loads(file.read_text())
    assert (found["result"], found["slug"], found["pod"]) == ("refused", "no-space", "web")
    assert "takes 22 MB" in found["detail"] and rests == ["no-space"]
