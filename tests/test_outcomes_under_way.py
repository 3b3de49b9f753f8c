"""What is under way is what somebody works on at this moment; asking is in nobody's way."""

import fcntl
import json
import os
from pathlib import Path

import pytest

from glowplug import paths
from glowplug.capture import subject
from glowplug.outcomes import under_way
from glowplug.restore import attempt, progress
from glowplug.restore.journal import Journal


@pytest.fixture(autouse=True)
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))


def kinds() -> list[tuple[str, str]]:
    return [(one.kind, one.container_id) for one in under_way.read()]


def test_nothing_is_under_way_on_a_node_that_did_nothing_yet() -> None:
    assert kinds() == []


def test_a_restore_and_a_capture_are_there_until_they_end() -> None:
    trial = attempt.begin(Journal("c1"))
    with subject.alone("c2"):
        assert sorted(kinds()) == [("capture", "c2"), ("restore", "c1")]
    assert kinds() == [("restore", "c1")]
    trial.finish()
    assert kinds() == []


def test_a_restore_says_how_much_memory_it_has_written() -> None:
    trial = attempt.begin(Journal("c1"))
    assert under_way.read()[0].memory is None
    for done in (0, 1 << 40, 3):
        progress.report(trial.progress, done, 1 << 40)
        assert under_way.read()[0].memory == (done, 1 << 40)
    Path(trial.progress).write_text("1 2 3")
    assert under_way.read()[0].memory is None
    trial.finish()


def test_what_a_killed_process_left_is_not_under_way() -> None:
    trial = attempt.begin(Journal("c1"))
    os.close(trial.lock)
    Path(paths.captures()).mkdir()
    Path(paths.captures(), "c2").touch()
    assert kinds() == []


def test_a_journal_that_is_no_journal_goes_by_its_directory() -> None:
    trial = attempt.begin(Journal("c1"))
    for garbage in ("{", "[]", json.dumps({"name": "x"})):
        Path(trial.directory, attempt.JOURNAL).write_text(garbage)
        assert kinds() == [("restore", "c1")]
    trial.finish()


def test_asking_takes_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is tried could be in the way of a restore that begins."""
    trial = attempt.begin(Journal("c1"))

    def refuse(*_: object) -> None:
        raise AssertionError("a lock was tried")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert kinds() == [("restore", "c1")]
    monkeypatch.undo()
    os.close(trial.lock)
