"""The journal of a restore tells a live runtime from a dead one by its lock."""

import os
import threading
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
    assert list(attempt.abandoned()) == []
    begun.finish()


def test_one_whose_runtime_died_is_found_once() -> None:
    os.close(attempt.begin(FACTS).lock)
    (left,) = attempt.abandoned()
    assert (left.facts, left.id) == (FACTS, "c1")
    assert list(attempt.abandoned()) == []  # whoever found it holds it
    left.finish()
    assert not os.path.exists(left.directory)


def test_nothing_is_left_of_one_that_finished() -> None:
    attempt.begin(FACTS).finish()
    assert list(attempt.abandoned()) == []
    assert os.listdir(paths.attempts()) == []


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_journal_that_was_cut_off_was_before_the_first_change(text: str) -> None:
    begun = attempt.begin(FACTS)
    Path(begun.directory, attempt.JOURNAL).write_text(text)
    os.close(begun.lock)
    os.utime(begun.directory, (0, 0))
    assert list(attempt.abandoned()) == []
    assert os.listdir(paths.attempts()) == []


def test_one_that_begins_is_disturbed_by_nobody() -> None:
    """Several pods' creates, and the agent, look for abandoned ones all the time."""
    done = threading.Event()
    found: list[attempt.Attempt] = []

    def look() -> None:
        while not done.is_set():
            found.extend(attempt.abandoned())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for number in range(300):  # a container is created once
            attempt.begin({**FACTS, "id": f"c{number}"}).finish()
    finally:
        done.set()
        looking.join()
    assert found == []


def test_a_second_try_of_the_same_container_waits_for_nobody() -> None:
    begun = attempt.begin(FACTS)
    with pytest.raises(BlockingIOError):
        attempt.begin(FACTS)
    begun.finish()


def test_those_of_other_pods_are_free_for_whoever_cleans_up_there() -> None:
    """A containerd that was killed leaves several, and every pod's next create comes at the same time."""
    for name in "abc":
        os.close(attempt.begin({"id": name, "sandbox": name}).lock)
    own = attempt.abandoned(lambda left: left.text("sandbox") == "b")
    ours = next(own)
    others = [left.id for left in attempt.abandoned()]
    assert (ours.id, others) == ("b", ["a", "c"])
    ours.finish()
    assert list(own) == []


def test_those_that_are_not_come_to_yet_are_free() -> None:
    for name in "ab":
        os.close(attempt.begin({"id": name}).lock)
    sweep = attempt.abandoned()
    assert next(sweep).id == "a"
    assert [left.id for left in attempt.abandoned()] == ["b"]
