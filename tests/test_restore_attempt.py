"""The journal of a restore shows a live runtime from a dead one, by its lock and by the script that waits for it."""

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from glowplug import paths
from glowplug.host import process_life
from glowplug.restore import attempt
from glowplug.restore.journal import Journal

JOURNAL = Journal("c1", sandbox="s1", root="/r", systemd_cgroup=True, start={"pod": "p"}, script=(1, 2))


@pytest.fixture(autouse=True)
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path))
    yield tmp_path


def test_what_it_says_is_what_it_was_reported() -> None:
    begun = attempt.begin(JOURNAL)
    (found,) = attempt.left()
    assert found.to_json() == JOURNAL.to_json()
    begun.finish()


def test_one_whose_runtime_lives_is_adopted_by_nobody() -> None:
    begun = attempt.begin(JOURNAL)
    with pytest.raises(TimeoutError):
        attempt.adopt("c1", 0)
    begun.finish()


def test_one_whose_runtime_died_is_adopted_once() -> None:
    attempt.begin(JOURNAL).release()
    left = attempt.adopt("c1", 0)
    assert left is not None and left.journal.to_json() == JOURNAL.to_json()
    with pytest.raises(TimeoutError):
        attempt.adopt("c1", 0)
    left.finish()
    assert attempt.adopt("c1", 0) is None


def test_a_wait_for_one_that_is_finished_meanwhile_gets_none() -> None:
    """As the script does while the agent's sweep is at it."""
    begun = attempt.begin(JOURNAL)
    found: list[attempt.Attempt | None] = []
    waiting = threading.Thread(target=lambda: found.append(attempt.adopt("c1", 30)))
    waiting.start()
    begun.finish()
    waiting.join()
    assert found == [None]


def test_a_wait_for_one_that_is_let_go_gets_it() -> None:
    begun = attempt.begin(JOURNAL)
    found: list[attempt.Attempt | None] = []
    waiting = threading.Thread(target=lambda: found.append(attempt.adopt("c1", 30)))
    waiting.start()
    begun.release()
    waiting.join()
    assert found[0] is not None
    found[0].finish()


def test_nothing_is_left_of_one_that_finished() -> None:
    attempt.begin(JOURNAL).finish()
    assert list(attempt.left()) == []
    assert os.listdir(paths.attempts()) == []


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"id": 7}', '{"unheard": ""}'])
def test_one_whose_journal_is_damaged_is_still_one(text: str) -> None:
    begun = attempt.begin(JOURNAL)
    Path(begun.directory, attempt.JOURNAL).write_text(text)
    (found,) = attempt.left()
    assert (found.id, found.bundle) == ("c1", "")
    begun.finish()


def test_a_second_one_of_the_same_container_is_refused() -> None:
    begun = attempt.begin(JOURNAL)
    with pytest.raises(OSError):
        attempt.begin(JOURNAL)
    assert os.listdir(paths.attempts()) == ["c1"]
    begun.finish()


def test_it_is_there_completely_or_not_at_all() -> None:
    """A look while many begin and end sees no half of one."""
    done = threading.Event()
    seen: list[Journal] = []

    def look() -> None:
        while not done.is_set():
            for name in attempt.names():
                if (journal := attempt.journal_of(paths.attempt(name))) is not None:
                    seen.append(journal)
                else:
                    assert not os.path.exists(paths.attempt(name))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for number in range(300):  # a container is created once
            attempt.begin(Journal(f"c{number}", bundle="/b")).finish()
    finally:
        done.set()
        looking.join()
    assert all(journal.bundle == "/b" for journal in seen)


def test_fragments_are_no_attempts_and_go_when_they_are_old() -> None:
    for name in (".new-c1.7", ".gone-c2.8"):
        Path(paths.attempts(), name).mkdir(parents=True)
        Path(paths.attempts(), name, "lock").touch()
    assert attempt.names() == []
    attempt.remove_fragments()
    assert len(os.listdir(paths.attempts())) == 2
    for name in os.listdir(paths.attempts()):
        os.utime(f"{paths.attempts()}/{name}", (0, 0))
    attempt.remove_fragments()
    assert os.listdir(paths.attempts()) == []


def test_it_is_waited_for_while_its_very_script_lives() -> None:
    script = subprocess.Popen(["sleep", "600"])
    started = process_life.start_time(script.pid)
    assert started is not None
    try:
        assert attempt.Attempt(Journal("c1", script=(script.pid, started)), -1).is_waited_for()
        # another process that has got its number
        assert not attempt.Attempt(Journal("c1", script=(script.pid, started - 1)), -1).is_waited_for()
    finally:
        script.kill()
        script.wait()
    assert not attempt.Attempt(Journal("c1", script=(script.pid, started)), -1).is_waited_for()
    assert not attempt.Attempt(Journal("c1"), -1).is_waited_for()


def test_the_process_that_was_let_go_is_known_again() -> None:
    begun = attempt.begin(JOURNAL)
    assert begun.opened() is None
    begun.open(os.getpid())
    assert begun.opened() == (os.getpid(), process_life.start_time(os.getpid()))
    Path(begun.opened_record).write_text("7")
    assert begun.opened() is None
    begun.finish()
