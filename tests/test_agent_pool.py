"""A pool whose threads hang continues working, and takes no tenant before the others; hearts show who does not beat."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from glowplug.agent.captures import slots
from glowplug.agent.loop import pool as pools
from glowplug.agent.loop.heart import Heart
from glowplug.agent.loop.pool import Pool
from glowplug.agent.spool_reader import SpoolReader
from glowplug.errors import CacheError, CaptureRefused

WITHIN_S = 60.0


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Work that waits for it hangs until the test is over."""
    monkeypatch.setattr(pools, "OVERDUE_S", 0.02)
    monkeypatch.setattr(pools, "IDLE_S", 0.1)
    event = threading.Event()
    yield event
    event.set()


def _until(event: threading.Event) -> None:
    event.wait()


def ticked(pool: Pool, holds: Callable[[], bool]) -> None:
    until = time.monotonic() + WITHIN_S
    while not holds():
        pool.tick()
        assert time.monotonic() < until
        time.sleep(0.005)


def test_stuck_threads_are_replaced(hang: threading.Event) -> None:
    pool = Pool("test", at_once=2, most=8, per_tenant=8)
    for _ in range(6):
        pool.submit("", partial(_until, hang))
    done = threading.Event()
    pool.submit("", done.set)
    ticked(pool, done.is_set)
    assert pool.heart.is_alive


def test_one_tenant_takes_no_more_than_its_share(hang: threading.Event) -> None:
    pool = Pool("test", at_once=3, most=3, per_tenant=2)
    for _ in range(5):
        pool.submit("evil", partial(_until, hang))
    done = threading.Event()
    pool.submit("other", done.set)
    ticked(pool, done.is_set)


def test_work_that_fails_ends_no_thread(hang: threading.Event) -> None:
    pool = Pool("test", at_once=1, most=1, per_tenant=1)

    def fail() -> None:
        raise KeyError("x")

    pool.submit("", fail)
    done = threading.Event()
    pool.submit("", done.set)
    ticked(pool, done.is_set)


def test_a_full_pool_that_does_nothing_is_dead(
    hang: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "WAITS_AT_MOST_S", 0.1)
    pool = Pool("test", at_once=1, most=1, per_tenant=1)
    pool.heart.limit_s = 0.1
    pool.submit("", partial(_until, hang))
    pool.submit("", lambda: None)
    ticked(pool, lambda: not pool.heart.is_alive)


def test_a_heart_that_beats_lives() -> None:
    heart = Heart("loop", 0.05)
    assert heart.is_alive
    until = time.monotonic() + WITHIN_S
    while heart.is_alive:
        assert time.monotonic() < until
    heart.beat()
    assert heart.age_s() < WITHIN_S


def test_the_spool_is_read_when_somebody_calls_and_once_more_in_the_end() -> None:
    looks: list[float] = []
    failing = iter([True])

    def take_in() -> None:
        looks.append(time.monotonic())
        if next(failing, False):
            raise CacheError("full")

    reader = SpoolReader(take_in)
    reader.start()
    until = time.monotonic() + WITHIN_S
    while len(looks) < 3:
        reader.call()
        assert time.monotonic() < until
        time.sleep(0.005)
    before = len(looks)
    reader.close()
    assert len(looks) > before and not reader.is_alive()


# -- slots of captures --


def test_a_slot_is_free_again_and_only_then(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glowplug.paths.RUN_DIR", str(tmp_path))
    with slots.taken(2), slots.taken(2):
        with pytest.raises(CaptureRefused) as raised, slots.taken(2, within_s=0.0):
            pass
        assert raised.value.slug == "slot"
    with slots.taken(1, within_s=0.0):
        pass
