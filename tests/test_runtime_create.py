"""`create`, its decisions: runc after whatever went wrong, but never over what could not be cleaned up."""

import json
import os
from pathlib import Path

import pytest
from tests.checkpoint_made import spec

from glowplug import paths
from glowplug.errors import HostError
from glowplug.restore import attempt, child, cleanup, pipeline, steps
from glowplug.runtime import argv, ask, create, outcome
from glowplug.runtime.status import REFUSED, RUNC

MATCH: dict[str, object] = {"verdict": "match", "checkpoint": "c" * 16, "cache": "/none"}


class Bundle:
    """A bundle that containerd wants a container made of."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "bundle"
        self.directory.mkdir()
        (self.directory / "config.json").write_text(json.dumps(spec()))
        self.log = directory / "log.json"

    def create(self) -> int:
        told = ("--root", f"{self.directory}/runc", "--log", str(self.log))
        return create.run("/none/runc", argv.parse([*told, "create", "--bundle", str(self.directory), "c1"]))


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(child, "die_with_parent", lambda parent: None)
    monkeypatch.setattr(ask, "ask", lambda question: MATCH)
    return Bundle(tmp_path)


def record() -> dict[str, object]:
    """The one outcome."""
    (name,) = os.listdir(paths.spool())
    found: dict[str, object] = json.loads(Path(paths.spool(), name).read_text())
    return found


def fail(work: steps.Work, phases: dict[str, float]) -> None:
    raise pipeline.Failed("criu", "no luck")


def test_a_failed_restore_that_was_cleaned_up_is_runcs(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "run", fail)
    monkeypatch.setattr(cleanup, "clean_up", lambda trial, deadline_s, create_follows: trial.finish())
    assert bundle.create() == RUNC
    assert record()["outcome"] == "fallback:criu"
    assert os.listdir(paths.attempts()) == []


@pytest.mark.parametrize("fault", [HostError("7 is stuck"), OSError(16, "busy"), KeyError("source")])
def test_what_can_not_be_cleaned_up_is_refused(
    fault: Exception, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """runc would fail on what is left, or run beside it; the journal stays, for the next clean-up."""

    def clean_up(trial: attempt.Attempt, deadline_s: float, create_follows: bool) -> None:
        os.close(trial.lock)  # as our end does
        raise fault

    monkeypatch.setattr(pipeline, "run", fail)
    monkeypatch.setattr(cleanup, "clean_up", clean_up)
    assert bundle.create() == REFUSED
    assert record()["outcome"] == "fallback:criu"
    assert "criu: no luck; and then the clean-up:" in json.loads(bundle.log.read_text())["msg"]
    assert os.listdir(paths.attempts()) == ["c1"]


def test_a_refusal_that_can_not_be_told_is_one(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk."""

    def clean_up(trial: attempt.Attempt, deadline_s: float, create_follows: bool) -> None:
        os.close(trial.lock)
        raise HostError("7 is stuck")

    monkeypatch.setattr(pipeline, "run", fail)
    monkeypatch.setattr(cleanup, "clean_up", clean_up)
    bundle.log = Path("/dev/full")
    assert bundle.create() == REFUSED


def test_an_outcome_that_can_not_be_written_leaves_nothing(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(old: str, new: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    assert not outcome.append({"outcome": "restored"})
    assert os.listdir(paths.spool()) == []
