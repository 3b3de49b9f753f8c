"""Looking through a container's log for a line, as CRI writes it."""

import os
import signal
import time
from pathlib import Path

import pytest

from glowplug.agent.captures import log_matcher, logwatch
from glowplug.agent.captures.logwatch import LogWatch
from glowplug.capture import policy
from glowplug.errors import UsageError
from glowplug.host import workers

SOON_S = 60.0


def found(watch: LogWatch) -> bool:
    """One question, with all the time that it may need."""
    return watch.ask(time.monotonic() + SOON_S)


@pytest.fixture(autouse=True)
def _any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is not to decide, nor which matcher stays: no spare is started for an answer that is late."""
    monkeypatch.setattr(logwatch, "MATCHED_WITHIN_S", SOON_S)
    monkeypatch.setattr(workers, "SPARE_AFTER_S", SOON_S)


def line(text: str, tag: str = "F") -> str:
    return f"2026-01-02T03:04:05.678901234Z stdout {tag} {text}\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "main.log"


def test_a_line_matches_once_it_is_complete(log: Path) -> None:
    watch = LogWatch(str(log), "^server is up$")
    assert not found(watch)
    log.write_text(line("booting") + line("server is ", "P"))
    assert not found(watch)
    with log.open("a") as file:
        file.write(line("up")[:-1])
        file.flush()
        assert not found(watch)
        file.write("\n")
    assert found(watch)
    assert not found(watch)  # it was looked through


def test_neither_time_nor_stream_is_text(log: Path) -> None:
    log.write_text(line("hello"))
    assert not found(LogWatch(str(log), "stdout|2026"))


def test_a_log_that_was_rotated_begins_again(log: Path) -> None:
    watch = LogWatch(str(log), "up")
    log.write_text(line("a long line of no interest"))
    assert not found(watch)
    log.rename(log.with_suffix(".old"))
    log.write_text(line("up"))
    assert found(watch)


def test_no_line_is_lost_when_a_log_is_rotated(log: Path) -> None:
    """What was written last is read from the file that was put aside."""
    watch = LogWatch(str(log), "up")
    log.write_text(line("booting"))
    assert not found(watch)
    with log.open("a") as file:
        file.write(line("up"))
    log.rename(log.with_suffix(".old"))
    assert found(watch)
    log.write_text(line("serving"))
    assert not found(watch)


def test_a_log_that_was_cut_begins_again(log: Path) -> None:
    watch = LogWatch(str(log), "up")
    log.write_text(line("a long line of no interest"))
    assert not found(watch)
    log.write_text(line("up"))
    assert found(watch)


def test_a_log_that_grows_fast_is_caught_up_with(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logwatch, "READ_LIMIT", 16 << 10)
    log.write_text(line("x" * 1000) * (4 * logwatch.READ_LIMIT // 1000) + line("up"))
    assert found(LogWatch(str(log), "up"))


@pytest.mark.parametrize("text", ["", "\n\n\n", "no log at all\n", "\0" * 1000 + "\n", "a b c\n"])
def test_what_is_no_log_matches_nothing(text: str, log: Path) -> None:
    log.write_text(text)
    assert not found(LogWatch(str(log), "."))


@pytest.mark.parametrize("regex", ["(", "[z-a]", "a{1001}", "(?=look)ahead", r"(back)\1", r"(\pL.?){300}"])
def test_what_is_no_expression_is_refused(regex: str, log: Path) -> None:
    """Or one of Python's that RE2 has not, or one that needs too much memory; in the library's own words."""
    log.write_text(line("up"))
    with pytest.raises(
        UsageError, match=r"^glowplug.dev/ready: log: is followed by no expression of RE2's: \w+"
    ):
        found(LogWatch(str(log), regex))


def test_what_is_wrong_is_reported_without_the_expression(log: Path) -> None:
    log.write_text(line("up"))
    with pytest.raises(UsageError) as reported:
        found(LogWatch(str(log), "hunter2("))
    assert str(reported.value).endswith("RE2's: missing )")


def test_nothing_of_it_is_compiled_by_the_agent() -> None:
    """That alone may take seconds."""
    assert policy.ready("log:(?i)" + r"\pL" * 199).kind == "log"


def test_one_that_backtracks_forever_elsewhere_is_looked_up_at_once(log: Path) -> None:
    evil = r"^(a+)+$"
    log.write_text(line("a" * 60_000 + "!") + line("aaa"))
    watch = LogWatch(str(log), evil)
    assert found(watch)
    assert watch._cpu_s < logwatch.CPU_IN_ALL_S


def test_one_that_takes_too_long_ends_its_process_and_is_refused(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write_text(line("up"))
    assert found(LogWatch(str(log), "up"))
    matcher = logwatch.MATCHERS._idle[-1]
    monkeypatch.setattr(logwatch, "CPU_S", 0.001)
    log.write_text(line("ab" * 30_000) * 4)
    with pytest.raises(UsageError, match="takes too long"):
        found(LogWatch(str(log), "(.{1,100}a){9}c", "hostile"))
    assert matcher._process.wait(60) == -signal.SIGPROF


def test_it_is_refused_for_what_it_took_in_all(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logwatch, "CPU_IN_ALL_S", 0.0)
    log.write_text(line("booting"))
    with pytest.raises(UsageError, match="takes too long"):
        found(LogWatch(str(log), "up"))


def test_its_process_works_behind_all_others_and_stays_for_the_next(log: Path) -> None:
    log.write_text(line("up"))
    assert found(LogWatch(str(log), "up"))
    (matcher,) = logwatch.MATCHERS._idle
    assert os.getpriority(os.PRIO_PROCESS, matcher._process.pid) == 10
    assert found(LogWatch(str(log), "up"))
    assert matcher in logwatch.MATCHERS._idle


def test_lines_that_nobody_could_look_through_in_time_are_looked_through_later(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write_text(line("up"))
    watch = LogWatch(str(log), "up")
    assert not watch.ask(0.0)
    log.write_text("")
    assert found(watch)


def test_a_matcher_that_somebody_killed_says_nothing_about_the_expression(log: Path) -> None:
    log.write_text(line("up"))
    assert found(LogWatch(str(log), "up"))
    for matcher in logwatch.MATCHERS._idle:
        matcher._process.send_signal(signal.SIGKILL)
    watch = LogWatch(str(log), "up")
    assert found(watch) or found(watch)


def test_an_answer_holds_no_line() -> None:
    said = log_matcher.answer({"regex": "up", "lines": ["secret up"], "cpu_s": 0.0})
    assert said["found"] is True and "secret" not in str(said)
