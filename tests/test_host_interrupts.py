"""A stop that is deferred comes at the end, by the handler that was there."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from glowplug.host.interrupts import deferred

STOPS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Both signals interrupt; in the background of a shell SIGINT is ignored."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in STOPS}
    yield
    assert {signal.getsignal(number) for number in STOPS} == {signal.default_int_handler}
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPS)
def test_it_comes_at_the_end(interrupts: None, number: signal.Signals) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), deferred():
        os.kill(os.getpid(), number)
        done.append("all")
    assert done == ["all"]


def test_nothing_comes_where_nothing_came(interrupts: None) -> None:
    with deferred():
        pass


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with deferred():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_may_use_it() -> None:
    done = []

    def work() -> None:
        with deferred():
            done.append("all")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == ["all"]
