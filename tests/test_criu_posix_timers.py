"""POSIX timers of a dump that are for one thread."""

import pytest

from glowplug.criu import images, posix_timers, processes
from glowplug.criu.images import Message

PID, OTHER = 8, 9


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class Process:
        pid, threads = PID, (PID, OTHER)

    monkeypatch.setattr(processes, "tree", lambda _: [Process])


def dump(folder: str, *timers: tuple[int, int]) -> None:
    """(how it notifies, thread) of each."""
    listed = []
    for notify, thread in timers:
        one = Message()
        one.put_integer(4, notify)
        one.put_integer(11, thread)
        listed.append(one)
    timers_entry, task, core = Message(), Message(), Message()
    timers_entry.put_messages(4, listed)
    task.put_message(7, timers_entry)
    core.put_message(3, task)
    images.store(folder, f"core-{PID}.img", "core", [core])


def threads(folder: str) -> list[int | None]:
    (core,) = images.load(folder, f"core-{PID}.img", "core")
    task = core.message(3)
    timers = task.message(7) if task else None
    return [one.integer(11) for one in timers.messages(4)] if timers else []


@pytest.mark.usefixtures("one_process")
def test_a_number_that_is_no_thread_s_is_the_first_one_s(tmp_path: object) -> None:
    folder = str(tmp_path)
    dump(folder, (4, 2_035_378_560), (4, OTHER), (4, PID), (0, 0))
    assert posix_timers.apply(folder) == 1
    assert threads(folder) == [PID, OTHER, PID, 0]
    assert posix_timers.apply(folder) == 0


@pytest.mark.usefixtures("one_process")
def test_a_process_without_any(tmp_path: object) -> None:
    images.store(str(tmp_path), f"core-{PID}.img", "core", [Message()])
    assert posix_timers.apply(str(tmp_path)) == 0
