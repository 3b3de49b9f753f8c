"""A cache that has no space: a pod that waits for its capture at the readiness gate is let go within a minute."""

import json
from pathlib import Path

import pytest
from tests.capture_made import made_loop, made_task

from glowplug import paths
from glowplug.agent.captures import worker
from glowplug.agent.loop import captures
from glowplug.agent.loop.row import Row, State
from glowplug.config import Config
from glowplug.errors import NoSpace


def test_it_is_tried_again_a_few_times_and_then_put_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    task = made_task(Config())
    answer = worker._not_captured(task, NoSpace("the cache has space for 2 MB, and it takes 22 MB"), [])
    parts, case, learned = made_loop(monkeypatch, task, answer, within_s=1800)
    waited = 0.0
    while (following := captures.capture(parts, Row("c", case=case))).state is State.READY:
        waited += following.after_s
        assert waited < 60
    (file,) = Path(paths.spool()).iterdir()
    found = json.loads(file.read_text())
    assert (found["result"], found["slug"], found["pod"]) == ("refused", "no-space", "web")
    assert "takes 22 MB" in found["detail"] and learned == ["no-space"]
