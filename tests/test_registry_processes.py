"""Forked processes that share work: what they did is counted, what failed is raised, and none is left."""

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from glowplug.errors import CacheError, GlowplugError, RegistryError, RegistryMiss
from glowplug.registry import processes


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


def children() -> set[int]:
    """Of this process, zombies too."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
            if int(file.read().rpartition(b")")[2].split()[1]) == os.getpid():
                found.add(int(pid))
    return found


def run(numbers: range, count: int, work: processes.Work) -> list[int]:
    done: list[int] = []
    processes.run(numbers, count, lambda child: work, done.append)
    return sorted(done)


@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_each_number_is_done_once(count: int) -> None:
    assert run(range(20), count, lambda number: number * 1000) == [number * 1000 for number in range(20)]


def test_nothing_to_do_forks_nothing() -> None:
    assert run(range(0), 4, lambda number: number) == []


def test_the_work_is_that_of_processes_that_know_their_number() -> None:
    found: list[int] = []
    processes.run(range(8), 2, lambda child: lambda number: os.getpid() * 10 + child, found.append)
    assert os.getpid() not in {one // 10 for one in found}
    assert {one % 10 for one in found} <= {0, 1}


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (RegistryMiss("damaged", "a chunk"), RegistryMiss),
        (RegistryError("it answered 500"), RegistryError),
        (CacheError("a disk"), CacheError),
        (OSError(errno.ENOSPC, "No space left on device"), CacheError),
    ],
)
def test_what_a_child_raises_is_raised(raised: Exception, expected: type[GlowplugError]) -> None:
    def work(number: int) -> int:
        if number == 3:
            raise raised
        return 1

    with pytest.raises(expected) as error:
        run(range(100), 2, work)
    assert type(error.value) is expected
    assert str(raised) in str(error.value)
    assert getattr(error.value, "slug", "") == getattr(raised, "slug", "")


def test_what_was_begun_is_done_and_no_more_after_an_error() -> None:
    done: list[int] = []

    def work(number: int) -> int:
        if number == 0:
            raise RegistryError("it answered 500")
        return number

    with pytest.raises(RegistryError):
        processes.run(range(1000), 2, lambda child: work, done.append)
    assert len(done) < 1000


def test_an_interrupted_parent_does_not_wait_for_what_its_children_are_at() -> None:
    def work(number: int) -> int:
        if number:
            signal.pause()
        return 1

    def interrupt(size: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        processes.run(range(4), 2, lambda child: work, interrupt)


@pytest.mark.parametrize("how", ["killed", "a bug"])
def test_a_child_that_ends_early_is_an_error(how: str, capfd: pytest.CaptureFixture[str]) -> None:
    def work(number: int) -> int:
        if number == 1:
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ZeroDivisionError("by nobody expected")
        return 1

    with pytest.raises(RegistryError, match="was killed"):
        run(range(4), 2, work)
    if how == "a bug":
        assert "by nobody expected" in capfd.readouterr().err
