"""Connections with both ends in the images live on; all others come back as a socket whose peer hung up."""

import ipaddress
import os

import pytest

from glowplug.criu import images, sockets
from glowplug.criu.images import Message
from glowplug.errors import ImageError

ESTABLISHED, CLOSE, LISTEN = 1, 7, 10
UDP, TCP = 17, 6


def socket(
    ino: int,
    source: str,
    target: str = "",
    *,
    proto: int = TCP,
    state: int = ESTABLISHED,
    v6: bool = False,
    ns: int = 9,
) -> Message:
    sock = Message()
    sock.put_integer(1, ino + 100)
    sock.put_integer(2, ino)
    sock.put_integer(3, 10 if v6 else 2)
    sock.put_integer(4, 1 if proto == TCP else 2)
    sock.put_integer(5, proto)
    sock.put_integer(6, state)
    for text, port, address in ((source, 7, 11), (target, 8, 12)):
        host, _, number = text.rpartition(":")
        sock.put_integer(port, int(number or 0))
        sock.put_integers(address, words(host or ("::" if v6 else "0.0.0.0"), v6))
    sock.put_integer(18, ns)
    sock.put_octets(13, b"\x08\x00")
    sock.put_octets(99, b"of a newer CRIU")
    return sock


def words(host: str, v6: bool) -> list[int]:
    address = ipaddress.ip_address(host.strip("[]"))
    packed = address.packed
    if v6 and len(packed) == 4:
        packed = b"\0" * 10 + b"\xff\xff" + packed
    return [int.from_bytes(packed[at : at + 4], "little") for at in range(0, len(packed), 4)]


def dump(folder: str, *socks: Message) -> None:
    entries = []
    for at, sock in enumerate(socks):
        entry = Message()
        entry.put_integer(1, 4)
        entry.put_integer(2, at + 1)
        entry.put_message(4, sock)
        entries.append(entry)
        if sock.integer(8) and sock.integer(5) == TCP:
            images.write(folder, f"tcp-stream-{sock.integer(2):x}.img", b"stream")
    images.store(folder, "files.img", "files", entries)


def found(folder: str) -> dict[int, Message]:
    socks = [entry.message(4) for entry in images.load(folder, "files.img", "files")]
    return {sock.required(2, "ino"): sock for sock in socks if sock is not None}


@pytest.fixture
def folder(tmp_path: os.PathLike[str]) -> str:
    return os.fspath(tmp_path)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (socket(30, "127.0.0.1:40000", "127.0.0.1:80"), socket(31, "127.0.0.1:80", "127.0.0.1:40000")),
        (socket(30, "[::1]:4", "[::1]:80", v6=True), socket(31, "[::1]:80", "[::1]:4", v6=True)),
        (socket(30, "127.0.0.1:4", "127.0.0.1:80"), socket(31, "127.0.0.1:80", "127.0.0.1:4", v6=True)),
        (socket(30, "10.1.0.5:4", "10.1.0.5:80"), socket(31, "10.1.0.5:80", "10.1.0.5:4")),
    ],
    ids=["v4", "v6", "mapped", "own-address"],
)
def test_a_connection_with_both_ends_here_is_left_alone(folder: str, one: Message, other: Message) -> None:
    dump(folder, one, other)
    before = images.read(folder, "files.img")
    sockets.apply(folder)
    assert images.read(folder, "files.img") == before
    assert os.path.exists(f"{folder}/tcp-stream-1e.img")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (socket(30, "10.1.0.5:80", "10.1.0.9:5000"), socket(31, "0.0.0.0:80", state=LISTEN)),
        (socket(30, "127.0.0.1:4", "127.0.0.1:80"), socket(31, "127.0.0.1:80", "127.0.0.1:5")),
        (socket(30, "127.0.0.1:4", "127.0.0.1:80", ns=9), socket(31, "127.0.0.1:80", "127.0.0.1:4", ns=10)),
    ],
    ids=["to-another-pod", "another-port", "another-network-namespace"],
)
def test_a_connection_whose_peer_is_not_here_is_closed(folder: str, one: Message, other: Message) -> None:
    dump(folder, one, other)
    sockets.apply(folder)
    sock = found(folder)[30]
    assert [sock.integer(field) for field in (6, 7, 8)] == [CLOSE, 0, 0]
    assert sock.integers(11) == sock.integers(12) == [0]
    assert sock.integer(19) == 3
    assert sock.octets(99) == b"of a newer CRIU"
    assert not os.path.exists(f"{folder}/tcp-stream-1e.img")


def test_a_closed_socket_of_a_v6_family_keeps_addresses_of_its_length(folder: str) -> None:
    dump(folder, socket(30, "[fd00::5]:80", "[fd00::9]:5000", v6=True))
    sockets.apply(folder)
    assert found(folder)[30].integers(11) == [0, 0, 0, 0]


def test_listeners_and_datagram_sockets_stay(folder: str) -> None:
    dump(
        folder,
        socket(30, "0.0.0.0:80", state=LISTEN),
        socket(31, "[::]:81", state=LISTEN, v6=True),
        socket(32, "10.1.0.5:5353", "10.96.0.10:53", proto=UDP),
    )
    before = images.read(folder, "files.img")
    assert sockets.apply(folder) == ("10.1.0.5",)
    assert images.read(folder, "files.img") == before


def test_a_second_pass_changes_nothing_more(folder: str) -> None:
    dump(folder, socket(30, "10.1.0.5:80", "10.1.0.9:5000"))
    sockets.apply(folder)
    before = images.read(folder, "files.img")
    assert sockets.apply(folder) == ()
    assert images.read(folder, "files.img") == before


def test_sockets_on_the_old_pods_address_get_the_new_one(folder: str, tmp_path: os.PathLike[str]) -> None:
    into = f"{tmp_path}/view"
    os.mkdir(into)
    dump(
        folder,
        socket(30, "10.1.0.5:80", state=LISTEN),
        socket(31, "10.1.0.5:81", state=LISTEN, v6=True),
        socket(32, "10.1.0.5:9", "10.1.0.5:80"),
        socket(33, "10.1.0.5:5353", "10.96.0.10:53", proto=UDP),
        socket(34, "127.0.0.1:80", state=LISTEN),
    )
    before = images.read(folder, "files.img")
    assert sockets.rebind(folder, into, {"10.1.0.5": "10.1.0.77"}) == 4
    assert images.read(folder, "files.img") == before
    changed = found(into)
    assert changed[30].integers(11) == words("10.1.0.77", False)
    assert changed[31].integers(11) == words("10.1.0.77", True)
    assert changed[32].integers(12) == words("10.1.0.77", False)
    assert changed[33].integers(12) == words("10.96.0.10", False)
    assert changed[34].integers(11) == words("127.0.0.1", False)


def test_an_address_of_another_family_is_an_error(folder: str) -> None:
    dump(folder, socket(30, "10.1.0.5:80", state=LISTEN))
    with pytest.raises(ImageError):
        sockets.rebind(folder, folder, {"10.1.0.5": "fd00::1"})


def test_an_address_that_was_nobodys_stays(folder: str) -> None:
    """Bound with IP_FREEBIND, or a multicast group's."""
    dump(folder, socket(30, "192.0.2.5:80", state=LISTEN))
    assert sockets.rebind(folder, folder, {}) == 0


def test_an_impossible_address_is_an_error(folder: str) -> None:
    sock = socket(30, "10.1.0.5:80", "10.1.0.9:5000")
    sock.put_integers(11, [])
    dump(folder, sock)
    with pytest.raises(ImageError):
        sockets.apply(folder)


@pytest.mark.parametrize("address", ["232.1.2.3:9020", "[ff02::1:9]:5353"])
def test_an_address_of_every_pod_stays(folder: str, tmp_path: os.PathLike[str], address: str) -> None:
    """A datagram socket bound to a group hears that group, and nothing else."""
    group = socket(10, address, proto=UDP, state=CLOSE, v6=address.startswith("["))
    dump(folder, group, socket(11, "10.1.2.3:80", proto=UDP, state=CLOSE))
    assert sockets.apply(folder) == ("10.1.2.3",)
    assert sockets.rebind(folder, os.fspath(tmp_path), {"10.1.2.3": "10.1.2.4"}) == 1
    entries = images.load(os.fspath(tmp_path), "files.img", "files")
    found = entries[0].message(4)
    assert found and found.integers(11) == group.integers(11)
