"""Interfaces are read from a network namespace, and made again in another one."""

import os
import socket
from collections.abc import Iterator

import pytest

from glowplug.layer import syscalls
from glowplug.podnet import inside, interfaces
from glowplug.podnet.interfaces import Interface

CLONE_NEWNET = 0x40000000
ETH0 = Interface("eth0", ("10.1.2.3/24", "10.1.2.4/32", "fd00::5/64"))
NET1 = Interface("net1", ("192.168.7.1/16",))


def test_each_address_has_a_place_and_the_first_of_a_family_is_the_main_one() -> None:
    linked = Interface("eth0", ("fe80::1/64", *ETH0.addresses))
    assert interfaces.places([linked, NET1]) == {
        "10.1.2.3": ("eth0", 0),
        "10.1.2.4": ("eth0", 1),
        "fd00::5": ("eth0", 0),
        "192.168.7.1": ("net1", 0),
    }
    assert interfaces.main_ones([linked, NET1]) == (Interface("eth0", ("10.1.2.3/24", "fd00::5/64")), NET1)


@pytest.fixture
def made() -> Iterator[int]:
    """A process in a network namespace with both interfaces."""
    if os.geteuid() != 0:
        pytest.skip("wants a network namespace")
    (hear, say), (wait, end) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(end)
            syscalls.unshare(CLONE_NEWNET)
            interfaces.make((ETH0, NET1))
            os.write(say, b"ready")
            os.read(wait, 1)
        finally:
            os._exit(0)
    os.close(say)
    os.close(wait)
    try:
        assert os.read(hear, 9) == b"ready", "the interfaces could not be made"
        yield pid
    finally:
        os.close(end)
        os.close(hear)
        os.waitpid(pid, 0)


def test_what_is_made_is_read(made: int) -> None:
    """Except for the addresses that links give themselves."""
    found = interfaces.read(f"/proc/{made}/ns/net")
    own = [
        Interface(one.name, tuple(text for text in one.addresses if not text.startswith("fe80")))
        for one in found
    ]
    assert own == [ETH0, NET1]
    with open(f"/proc/{made}/net/route") as routes:
        assert [line.split()[0] for line in routes if line.split()[1] == "00000000"] == ["eth0"]


@pytest.mark.parametrize("address", ["192.0.2.9", "2001:db8::9"])
def test_a_datagram_socket_can_be_connected_to_the_outside(made: int, address: str) -> None:
    """As it was in the pod. What is sent is dropped."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with inside.made_in(f"/proc/{made}/ns/net", family, socket.SOCK_DGRAM) as one:
        one.connect((address, 9))
        assert one.getpeername()[:2] == (address, 9)
        one.send(b"x")
