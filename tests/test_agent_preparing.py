"""A start waits for the judgement that its container's making has begun, but not for one that hangs."""

import threading

import pytest
from integration.waiting import wait_until

from glowplug.agent.serving import preparing
from glowplug.agent.serving.preparing import Preparing

WITHIN_S = 30.0


def waiter(found: Preparing, container: str) -> threading.Thread:
    thread = threading.Thread(target=found.wait, args=(container,), daemon=True)
    thread.start()
    return thread


def test_a_start_waits_for_the_one_that_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "WAIT_S", 2 * WITHIN_S)
    found = Preparing()
    with found.begin("c1"):
        start = waiter(found, "c1")
        other = waiter(found, "c2")
        other.join(WITHIN_S)
        assert not other.is_alive()
        assert start.is_alive()
    start.join(WITHIN_S)
    assert not start.is_alive()


def test_but_not_for_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "WAIT_S", 0.01)
    found = Preparing()
    with found.begin("c1"):
        found.wait("c1")


def test_one_that_fails_leaves_no_start_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "WAIT_S", 2 * WITHIN_S)
    found = Preparing()
    with pytest.raises(ZeroDivisionError), found.begin("c1"):
        raise ZeroDivisionError
    start = waiter(found, "c1")
    wait_until(lambda: not start.is_alive(), WITHIN_S, "the start")


def test_of_two_for_one_container_the_last_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was made again under the same name, say."""
    monkeypatch.setattr(preparing, "WAIT_S", 2 * WITHIN_S)
    found = Preparing()
    with found.begin("c1"):
        with found.begin("c1"):
            start = waiter(found, "c1")
            assert start.is_alive()
        start.join(WITHIN_S)
        assert not start.is_alive()
    assert found._under_way == {}
