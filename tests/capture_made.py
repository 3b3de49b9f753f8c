"""The agent's task for one capture, and the loop's parts around the answer to it."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from glowplug.agent.captures.running import Running
from glowplug.agent.captures.task import Task
from glowplug.agent.loop import captures
from glowplug.capture.policy import Hook
from glowplug.capture.request import Request
from glowplug.config import Config

RUNNING = Running("c0" * 32, 1, "", "")


def made_task(config: Config, before: Hook | None = None, after: Hook | None = None) -> Task:
    """A capture of models/web with these hooks."""
    return Task(
        config=config,
        request=Request("models", "web", "main", container_id=RUNNING.id),
        running=RUNNING,
        runc_root="/r",
        pod_uid="uid",
        before=before,
        after=after,
        hook_timeout_s=5.0,
        gpu=False,
        end=False,
    )


def made_loop(
    monkeypatch: pytest.MonkeyPatch, task: Task | None, answer: dict[str, Any], within_s: float
) -> tuple[Any, Any, list[str]]:
    """Parts and case for `captures.capture`, where each try of `task` gets `answer`; and the slugs that are learned."""
    learned: list[str] = []
    parts = SimpleNamespace(
        learned=SimpleNamespace(
            require_capture=lambda workload: None,
            not_captured=lambda judgement, slug: learned.append(slug),
        ),
        children=SimpleNamespace(capture=lambda task: answer),
        config=None,
        decided=lambda candidate: None,
        end_if_wanted=lambda *_, **__: None,
    )
    case = SimpleNamespace(
        judgement=SimpleNamespace(workload="w"),
        running=RUNNING,
        candidate=SimpleNamespace(started=None),
        policy=SimpleNamespace(ready=None, when="once"),
        last_no=None,
        tries=0,
        until=time.monotonic() + within_s,
    )
    monkeypatch.setattr(captures, "has_ended", lambda pid: False)
    monkeypatch.setattr(captures, "_has_checkpoint", lambda parts, case: False)
    monkeypatch.setattr("glowplug.agent.captures.turn.task", lambda *_: task)
    return parts, case, learned
