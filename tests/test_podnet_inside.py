"""Connections into another network namespace: over the loopback, else over its own addresses, always in time."""

import itertools
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from glowplug.agent.captures import running
from glowplug.agent.captures.running import Running
from glowplug.podnet import addresses, inside

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not (shutil.which("unshare") and shutil.which("ip")),
    reason="makes a network namespace",
)

OWN = "10.99.0.1"
PORT = 8000
MAKE = (
    "ip link set lo up &&"
    " for number in $(seq 60); do ip addr add 10.99.0.$number/32 dev lo || exit; done && echo made && exec sleep 600"
)


@pytest.fixture
def pod() -> Iterator[int]:
    """A process in a network namespace of its own, which has 60 addresses."""
    with subprocess.Popen(["unshare", "--net", "sh", "-c", MAKE], stdout=subprocess.PIPE) as made:
        try:
            assert made.stdout and made.stdout.readline() == b"made\n"
            yield made.pid
        finally:
            made.kill()


def test_what_listens_on_an_own_address_is_found(pod: int) -> None:
    network = f"/proc/{pod}/ns/net"
    listener = inside.made_in(network, socket.AF_INET)
    with listener:
        listener.bind((OWN, PORT))
        listener.listen()
        served = Running("id", pod, network, "")
        with running.connect(served, PORT, time.monotonic() + 60) as connection:
            assert connection.getpeername() == (OWN, PORT)
        with pytest.raises(ConnectionRefusedError):
            running.connect(served, PORT + 1, time.monotonic() + 60)


def test_no_more_addresses_are_read_than_wanted(pod: int) -> None:
    found = addresses.of_process(pod)
    assert len(found) >= 60 and OWN in found
    assert len(addresses.of_process(pod, 5)) <= 5


def test_a_pod_with_addresses_without_end_is_queried_until_the_time_is_over(pod: int) -> None:
    with pytest.raises(OSError):
        inside.connect(
            f"/proc/{pod}/ns/net", itertools.repeat(inside.LOOPBACK[0]), PORT, time.monotonic() + 0.3
        )
