"""timerfds of a dump: one that has fired and was not read yet continues, one that was disarmed stays so."""

import pytest

from glowplug.criu import images, timers
from glowplug.criu.images import Message

REALTIME, MONOTONIC, BOOTTIME = 0, 1, 7
ABSOLUTE = 1


def dump(folder: str, clock: int, ticks: int, flags: int, *times: int) -> None:
    timer = Message()
    for number, value in zip((1, 4, 5, 6, 7, 8, 9, 10), (9, clock, ticks, flags, *times), strict=True):
        timer.put_integer(number, value)
    entry = Message()
    entry.put_integer(1, 17)
    entry.put_integer(2, 9)
    entry.put_message(12, timer)
    images.store(folder, "files.img", "files", [entry])


@pytest.mark.parametrize(
    ("clock", "ticks", "flags", "times", "then"),
    [
        (MONOTONIC, 1, 0, (0, 0, 0, 20_000_000), (0, 0, 20_000_000)),  # fired, not read: it was dead before
        (BOOTTIME, 3, 0, (0, 0, 7200, 5), (0, 7200, 5)),
        (MONOTONIC, 0, 0, (0, 0, 1, 0), (0, 0, 0)),  # disarmed, with an interval
        (MONOTONIC, 1, 0, (0, 0, 0, 0), (0, 0, 0)),  # fired once and for all
        (MONOTONIC, 0, 0, (0, 5, 0, 20), (0, 0, 5)),  # runs
        (MONOTONIC, 0, ABSOLUTE, (3, 5, 0, 0), (0, 3, 5)),  # CRIU would let it fire up to a second early
        (BOOTTIME, 2, ABSOLUTE, (0, 0, 1, 5), (0, 1, 5)),
        (REALTIME, 0, ABSOLUTE, (3, 5, 0, 0), (ABSOLUTE, 3, 5)),
        (REALTIME, 4, ABSOLUTE | 2, (0, 0, 60, 0), (ABSOLUTE | 2, 60, 0)),
    ],
)
def test_a_timer(
    tmp_path: object, clock: int, ticks: int, flags: int, times: tuple[int, ...], then: tuple[int, ...]
) -> None:
    folder = str(tmp_path)
    dump(folder, clock, ticks, flags, *times)
    changed = timers.apply(folder)
    (entry,) = images.load(folder, "files.img", "files")
    timer = entry.message(12)
    assert timer is not None
    assert (timer.integer(6), timer.integer(7), timer.integer(8)) == then
    assert (timer.integer(5), timer.integer(9), timer.integer(10)) == (ticks, *times[2:])
    assert changed == (then != (flags, *times[:2]))
