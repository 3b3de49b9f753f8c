"""What was read of checkpoints when a container was made serves its start: once, for a while, and only good news."""

import threading

import pytest
from integration.waiting import wait_until

from glowplug.agent.serving import readings
from glowplug.agent.serving.readings import KEPT, KEPT_S, Readings

WITHIN_S = 30.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def read(found: Readings, container: str, **unread: int) -> None:
    with found.begin(container) as reading:
        reading.update(unread)


def test_what_was_in_memory_serves_one_start_of_that_container() -> None:
    found = Readings()
    read(found, "c1", complete=0)
    assert found.take("c2") == {}
    assert found.take("c1") == {"complete": 0}
    assert found.take("c1") == {}


def test_what_was_not_is_read_again() -> None:
    found = Readings()
    read(found, "c1", complete=0, part=4096)
    assert found.take("c1") == {"complete": 0}


def test_it_serves_no_late_start() -> None:
    clock = Clock()
    found = Readings(clock)
    read(found, "c1", complete=0)
    read(found, "c2", complete=0)
    clock.now = KEPT_S
    assert found.take("c1") == {"complete": 0}
    clock.now = KEPT_S + 1
    assert found.take("c2") == {}


def test_a_start_waits_for_the_reading_that_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "WAIT_S", WITHIN_S)
    found = Readings()
    taken: list[dict[str, int]] = []
    with found.begin("c1") as reading:
        start = threading.Thread(target=lambda: taken.append(found.take("c1")))
        start.start()
        wait_until(lambda: "c1" not in found._readings, WITHIN_S, "the start that asks")
        reading["complete"] = 0
        assert taken == []
    start.join(WITHIN_S)
    assert taken == [{"complete": 0}]


def test_but_not_for_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "WAIT_S", 0.01)
    found = Readings()
    with found.begin("c1") as reading:
        reading["complete"] = 0
        assert found.take("c1") == {}


def test_a_reading_that_fails_leaves_no_start_waiting() -> None:
    found = Readings()
    with pytest.raises(ZeroDivisionError), found.begin("c1") as reading:
        reading["complete"] = 0
        raise ZeroDivisionError
    assert found.take("c1") == {}


def test_containers_that_are_never_started_are_forgotten() -> None:
    found = Readings()
    for number in range(KEPT + 5):
        read(found, f"c{number}", complete=0)
    assert len(found._readings) == KEPT
    assert found.take("c0") == {}
    assert found.take(f"c{KEPT + 4}") == {"complete": 0}
