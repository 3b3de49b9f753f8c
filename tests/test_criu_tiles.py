"""A thread that was dumped with tiles of AMX in use can't continue."""

import pytest

from glowplug.criu import images, tiles
from glowplug.criu.images import Message
from glowplug.errors import NotRestorable


def core(state_bv: int | None) -> Message:
    made = Message()
    made.put_integer(1, 1)
    if state_bv is None:
        return made
    inner = Message()
    inner.put_integer(1, state_bv)
    for number in (13, 3, 2):
        outer = made if number == 2 else Message()
        outer.put_message(number, inner)
        inner = outer
    return made


@pytest.mark.parametrize("state_bv", [None, 0, 0x2E7])
def test_any_other_is_let_through(tmp_path: object, state_bv: int | None) -> None:
    images.store(str(tmp_path), "core-7.img", "core", [core(state_bv)])
    tiles.require_none(str(tmp_path))


@pytest.mark.parametrize("state_bv", [0x602A2, 0x20000, 0x40000])
def test_one_in_the_middle_is_not(tmp_path: object, state_bv: int) -> None:
    images.store(str(tmp_path), "core-7.img", "core", [core(0x2E7)])
    images.store(str(tmp_path), "core-8.img", "core", [core(state_bv)])
    with pytest.raises(NotRestorable, match=r"thread 8 .* AMX"):
        tiles.require_none(str(tmp_path))
