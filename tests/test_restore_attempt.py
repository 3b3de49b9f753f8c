"""The journal of a restore tells a live runtime from a dead one by its lock."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from glowplug import paths
from glowplug.restore import attempt

FACTS: dict[str, object] = {"id": "c1", "sandbox": "s1", "root": "/r"}


@pytest.fixture(autouse=True)
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path))
    yield tmp_path


def test_one_whose_runtime_lives_is_not_abandoned() -> None:
    begun = attempt.begin(FACTS)
    assert attempt.abandoned() == []
    begun.finish()


def test_one_whose_runtime_died_is_found_once() -> None:
    os.close(attempt.begin(FACTS).lock)
    (left,) = attempt.abandoned()
    assert (left.facts, left.id) == (FACTS, "c1")
    assert attempt.abandoned() == []  # whoever found it holds it
    left.finish()
    assert not os.path.exists(left.directory)


def test_nothing_is_left_of_one_that_finished() -> None:
    attempt.begin(FACTS).finish()
    assert attempt.abandoned() == []
    assert os.listdir(paths.attempts()) == []


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_journal_that_was_cut_off_was_before_the_first_change(text: str) -> None:
    begun = attempt.begin(FACTS)
    Path(begun.directory, attempt.JOURNAL).write_text(text)
    os.close(begun.lock)
    assert attempt.abandoned() == []
    assert os.listdir(paths.attempts()) == []


def test_a_second_try_of_the_same_container_waits_for_nobody() -> None:
    begun = attempt.begin(FACTS)
    with pytest.raises(BlockingIOError):
        attempt.begin(FACTS)
    begun.finish()
