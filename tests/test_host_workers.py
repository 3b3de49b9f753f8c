"""Processes that answer questions and can be killed: what hangs is over at its deadline, and holds up no other."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from glowplug.host import workers
from glowplug.host.workers import TooManyWorkers, Workers

SOON_S = 60.0
HANGS_S = 4.0
"""For one that runs already to say its number, and no more."""

PROGRAM = """
import os, sys, time

def main():
    print(flush=True)
    for line in sys.stdin:
        word = line.strip()
        if word == "die":
            os.kill(os.getpid(), 9)
        print(os.getpid(), flush=True)
        if word == "hang":
            time.sleep(1000)
        print(word, flush=True)
"""


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    (tmp_path / "worker_program.py").write_text(PROGRAM)
    monkeypatch.setattr(workers, "_SOURCES", str(tmp_path))
    found = Workers("worker_program", most=6, most_of_one=2)
    yield found
    found.close()


@pytest.fixture
def unhurried(pool: Workers, monkeypatch: pytest.MonkeyPatch) -> Workers:
    """No spare is started for an answer that a busy machine delays: the worker with the request stays."""
    monkeypatch.setattr(workers, "SPARE_AFTER_S", SOON_S)
    return pool


def ask(pool: Workers, word: str, owner: str = "one", deadline_s: float = SOON_S) -> list[str]:
    return pool.ask(owner, word, 2, deadline_s).lines


def test_one_that_answers_stays_for_the_next(unhurried: Workers) -> None:
    first, second = ask(unhurried, "a"), ask(unhurried, "b", owner="other")
    assert first[0] == second[0]
    assert (first[1], second[1]) == ("a", "b")


def test_one_that_hangs_is_killed_at_the_deadline_and_what_it_said_before_counts(unhurried: Workers) -> None:
    assert ask(unhurried, "a")
    (pid,) = ask(unhurried, "hang", deadline_s=HANGS_S)
    until = time.monotonic() + SOON_S
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < until:
        ask(unhurried, "b")  # who asks next finds that it is gone
    assert not os.path.exists(f"/proc/{pid}")


def test_another_is_ready_while_one_hangs(unhurried: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the next question waits for no interpreter's start."""
    assert ask(unhurried, "a")
    monkeypatch.setattr(workers, "SPARE_AFTER_S", 0.05)
    assert len(ask(unhurried, "hang", deadline_s=HANGS_S)) == 1
    assert [worker.is_gone() for worker in unhurried._idle] == [False]


def test_an_owner_whose_questions_hang_has_a_few_and_takes_none_of_the_others(
    pool: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers._Worker, "is_gone", lambda _: False)  # the kernel does not let them go
    for _ in range(2):
        ask(pool, "hang", owner="hostile", deadline_s=0.2)
    with pytest.raises(TooManyWorkers):
        ask(pool, "a", owner="hostile")
    assert ask(pool, "a", owner="models")[1] == "a"


def test_how_one_ended_is_reported(pool: Workers) -> None:
    answered = pool.ask("one", "die", 2, SOON_S)
    assert (answered.lines, answered.status) == ([], -signal.SIGKILL)


def test_one_that_died_meanwhile_is_replaced(unhurried: Workers) -> None:
    pid = int(ask(unhurried, "a")[0])
    os.kill(pid, signal.SIGKILL)
    unhurried._idle[0].wait(SOON_S)
    assert ask(unhurried, "b")[1] == "b"


def test_niceness_is_set(tmp_path: Path, pool: Workers) -> None:
    nice = Workers("worker_program", most=1, most_of_one=1, niceness=7)
    assert os.getpriority(os.PRIO_PROCESS, int(ask(nice, "a")[0])) == 7
    nice.close()
