"""What came from outside while the container was frozen is in no checkpoint; what a process sent another one is."""

import struct

import pytest

from glowplug.criu import images, signals
from glowplug.criu.images import Message

TERM, CHLD, CLD_EXITED = 15, 17, 1


def siginfo(number: int, code: int, sender: int) -> bytes:
    return struct.pack("=iii4xi", number, 0, code, sender).ljust(128, b"\0")


def dump(folder: str, waiting: list[bytes], part: int, field: int) -> None:
    queue = Message()
    queue.put_messages(1, [_one(info) for info in waiting])
    holder = Message()
    holder.put_message(field, queue)
    core = Message()
    core.put_message(part, holder)
    images.store(folder, "core-1.img", "core", [core])


def _one(info: bytes) -> Message:
    entry = Message()
    entry.put_octets(1, info)
    return entry


@pytest.mark.parametrize(("part", "field"), [(3, 10), (5, 9)], ids=["process", "thread"])
def test_only_what_nobody_inside_sent_goes(tmp_path: object, part: int, field: int) -> None:
    folder = str(tmp_path)
    inside, child = siginfo(TERM, 0, 7), siginfo(CHLD, CLD_EXITED, 0)
    dump(folder, [siginfo(TERM, 0, 0), inside, child, siginfo(TERM, -6, 0)], part, field)
    assert signals.apply(folder) == 2
    (core,) = images.load(folder, "core-1.img", "core")
    holder = core.message(part)
    queue = holder and holder.message(field)
    assert queue is not None and [one.octets(1) for one in queue.messages(1)] == [inside, child]
    assert signals.apply(folder) == 0
