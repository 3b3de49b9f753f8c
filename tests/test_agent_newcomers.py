"""A container is asked for once between its making and its start, and one of another handler not at all."""

from typing import Any

from glowplug.agent import newcomers
from glowplug.agent.newcomers import Newcomers
from glowplug.containerd.events import Event


class Asked:
    """A containerd that counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def container(self, name: str) -> Any:
        self.asked.append(name)
        return f"record of {name}"


def made() -> tuple[Newcomers, Asked]:
    containerd: Any = Asked()
    return Newcomers(containerd), containerd


def test_who_asks_at_the_start_gets_what_was_asked_at_the_making() -> None:
    newcomers, containerd = made()
    assert newcomers.record("c1") is newcomers.take("c1")
    assert containerd.asked == ["c1"]
    newcomers.take("c1")  # a later start is another one
    assert containerd.asked == ["c1", "c1"]


def test_another_handler_s_is_known_until_it_is_deleted() -> None:
    newcomers, containerd = made()
    for name, is_ours in (("runc", False), ("ours", True), ("unread", None)):
        newcomers.created(Event(0.0, "/containers/create", name, is_ours=is_ours))
    assert [newcomers.is_foreign(name) for name in ("runc", "ours", "unread", "unheard")] == [True, *[False] * 3]
    newcomers.deleted(Event(0.0, "/containers/delete", "runc"))
    assert not newcomers.is_foreign("runc")
    assert containerd.asked == []


def test_what_was_never_started_is_not_kept_for_ever() -> None:
    found, containerd = made()
    for number in range(newcomers.RECORDS + 1):
        found.record(str(number))
    containerd.asked.clear()
    found.take("0")
    found.take("1")
    assert containerd.asked == ["0"]
