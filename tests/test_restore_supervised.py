"""A restore in a process of its own: whatever its end is, it is known, and the deadline is a kill from outside."""

import os
import time

import pytest
from tests import descriptors

from glowplug.restore import supervised
from glowplug.restore.result import Reporter, Result

LONG_S = 60.0


def done(**said: object) -> Result:
    result = Result()
    for name, value in said.items():
        setattr(result, name, value)
    return result


def run(work: "supervised.Work", seconds: float = LONG_S) -> tuple[Result, supervised.Failure | None]:
    return supervised.run(work, time.monotonic() + seconds)


def test_what_it_says_is_heard() -> None:
    def work(reporter: Reporter) -> int:
        reporter.step("layer")
        reporter.step("criu")
        reporter.end(done(phases={"layer": 0.5}, memory_bytes=7))
        return 0

    result, failure = run(work)
    assert failure is None
    assert (result.step, result.phases, result.memory_bytes) == ("criu", {"layer": 0.5}, 7)


def test_a_step_that_failed_is_reported() -> None:
    def work(reporter: Reporter) -> int:
        reporter.step("layer")
        reporter.end(done(detail="no space"))
        return 1

    failure = run(work)[1]
    assert failure is not None and (failure.stage, failure.detail) == ("layer", "no space")


def test_one_that_is_late_is_killed_in_whatever_it_does() -> None:
    """A thread of it, too, and with every signal blocked: nothing in it has to be interruptible."""

    def work(reporter: Reporter) -> int:
        import signal
        import threading

        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        reporter.step("memory")
        threading.Thread(target=time.sleep, args=(600,)).start()
        time.sleep(600)
        return 0

    _, failure = run(work, 0.3)
    assert failure is not None and failure.stage == "deadline"
    assert "the step memory was not done" in failure.detail


def test_a_killed_one_is_reported() -> None:
    def work(reporter: Reporter) -> int:
        reporter.step("criu")
        os.kill(os.getpid(), 9)
        return 0

    failure = run(work)[1]
    assert failure is not None and failure.stage == "killed"
    assert "signal 9" in failure.detail and "criu" in failure.detail


def test_one_that_ended_without_a_word_has_failed() -> None:
    for status in (0, 1, 92):
        assert run(lambda reporter, status=status: status)[1] is not None  # type: ignore[misc]


def test_an_exception_that_nobody_caught_ends_it(capfd: pytest.CaptureFixture[str]) -> None:
    def work(reporter: Reporter) -> int:
        reporter.step("image-overlay")
        raise SystemExit(0)

    failure = run(work)[1]
    assert failure is not None and failure.stage == "image-overlay"


def test_no_descriptor_is_left() -> None:
    with descriptors.none_left():
        run(lambda reporter: 0)
