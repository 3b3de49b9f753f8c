"""What no process holds, since it is on its way through a Unix socket, and CRIU would not finish."""

import pytest

from glowplug.criu import images, in_transit
from glowplug.criu.images import Message
from glowplug.errors import NotRestorable

SOCKET, EVENTFD, TIMER, INOTIFY = 4, 8, 12, 13
ESTABLISHED, CLOSE, LISTEN = 1, 7, 10
STREAM, DATAGRAM = 1, 2


def dump(folder: str, kind: int, owner: int, **fields: int) -> None:
    """File 9 of files.img, and the descriptor of a file for a process."""
    of = Message()
    of.put_integer(1, 9)
    for name, value in fields.items():
        of.put_integer(int(name[1:]), value)
    entry = Message()
    entry.put_integer(1, 17)
    entry.put_integer(2, 9)
    entry.put_message(kind, of)
    images.store(folder, "files.img", "files", [entry])
    entry = Message()
    entry.put_integer(1, owner)
    images.store(folder, "fdinfo-2.img", "fdinfo", [entry])


@pytest.mark.parametrize(
    ("kind", "fields", "what"),
    [
        (TIMER, {}, "a descriptor of timerfd"),
        (INOTIFY, {}, "a descriptor of inotify"),
        (SOCKET, {"f4": STREAM, "f6": ESTABLISHED}, "a TCP connection inside"),
        (SOCKET, {"f4": STREAM, "f6": LISTEN}, ""),
        (SOCKET, {"f4": STREAM, "f6": CLOSE}, ""),
        (SOCKET, {"f4": DATAGRAM, "f6": ESTABLISHED}, ""),
        (EVENTFD, {}, ""),
    ],
)
def test_what_nobody_holds(tmp_path: object, kind: int, fields: dict[str, int], what: str) -> None:
    dump(str(tmp_path), kind, 9, **fields)
    in_transit.require_none(str(tmp_path))
    dump(str(tmp_path), kind, 8, **fields)
    if not what:
        in_transit.require_none(str(tmp_path))
        return
    with pytest.raises(NotRestorable, match=f"{what} is on its way through a Unix socket"):
        in_transit.require_none(str(tmp_path))
