"""Looking through a container's log for a line, as CRI writes it."""

import contextlib
import os
import re
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from glowplug.agent import logwatch, policy
from glowplug.agent.logwatch import LogWatch
from glowplug.errors import UsageError
from glowplug.host import process


def line(text: str, tag: str = "F") -> str:
    return f"2026-01-02T03:04:05.678901234Z stdout {tag} {text}\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "main.log"


def test_a_line_matches_once_it_is_there_and_whole(log: Path) -> None:
    watch = LogWatch(str(log), "^server is up$")
    assert not watch.ask(0)
    log.write_text(line("booting") + line("server is ", "P"))
    assert not watch.ask(0)
    with log.open("a") as file:
        file.write(line("up")[:-1])
        file.flush()
        assert not watch.ask(0)
        file.write("\n")
    assert watch.ask(0)
    assert not watch.ask(0)  # it was looked through


def test_neither_time_nor_stream_is_text(log: Path) -> None:
    log.write_text(line("hello"))
    assert not LogWatch(str(log), "stdout|2026").ask(0)


def test_a_log_that_was_rotated_begins_anew(log: Path) -> None:
    watch = LogWatch(str(log), "up")
    log.write_text(line("a long line of no interest"))
    assert not watch.ask(0)
    log.rename(log.with_suffix(".old"))
    log.write_text(line("up"))
    assert watch.ask(0)


def test_no_line_is_lost_when_a_log_is_rotated(log: Path) -> None:
    """What was written last is read from the file that was put aside."""
    watch = LogWatch(str(log), "up")
    log.write_text(line("booting"))
    assert not watch.ask(0)
    with log.open("a") as file:
        file.write(line("up"))
    log.rename(log.with_suffix(".old"))
    assert watch.ask(0)
    log.write_text(line("serving"))
    assert not watch.ask(0)


def test_a_log_that_was_cut_begins_anew(log: Path) -> None:
    watch = LogWatch(str(log), "up")
    log.write_text(line("a long line of no interest"))
    assert not watch.ask(0)
    log.write_text(line("up"))
    assert watch.ask(0)


def test_a_log_that_grows_fast_is_caught_up_with(log: Path) -> None:
    log.write_text(line("x" * 1000) * (4 * logwatch.READ_LIMIT // 1000) + line("up"))
    assert LogWatch(str(log), "up").ask(time.monotonic() + 20)


@pytest.mark.parametrize("text", ["", "\n\n\n", "no log at all\n", "\0" * 1000 + "\n", "a b c\n"])
def test_what_is_no_log_matches_nothing(text: str, log: Path) -> None:
    log.write_text(text)
    assert not LogWatch(str(log), ".").ask(0)


@pytest.mark.parametrize("regex", ["(", "[z-a]", "(?P<1>x)", "a{99999999999}"])
def test_what_is_no_expression_is_refused(regex: str, log: Path) -> None:
    log.write_text(line("up"))
    with pytest.raises(UsageError, match="is no regular expression"):
        LogWatch(str(log), regex).ask(0)


def test_one_that_takes_long_to_compile_costs_the_agent_nothing() -> None:
    """Some do, before a line is looked at: 6 seconds for this one."""
    assert policy.ready("log:(?i)" + r"[a-\uffff]" * 99).kind == "log"


def test_an_expression_that_takes_for_ever_is_given_up(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logwatch, "MATCHED_WITHIN_S", 0.5)
    evil = r"^(a+)+$"
    assert re.compile(evil)
    log.write_text(line("a" * 64 + "!"))
    with ThreadPoolExecutor(1) as other, pytest.raises(UsageError, match="takes longer"):
        asked = other.submit(LogWatch(str(log), evil).ask, 0)
        # Behind everything else that the node has to do.
        assert 19 in iter(partial(niceness, asked), None)
        asked.result()


def niceness(asked: "Future[bool]") -> int | None:
    """The highest of our processes; None when the question is answered."""
    if asked.done():
        return None
    found = [0]
    for pid in process.children(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            found.append(os.getpriority(os.PRIO_PROCESS, pid))
    return max(found)
