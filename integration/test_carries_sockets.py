"""Sockets: what has both ends in the container lives on, what listens continues listening in the new pod."""

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from integration.captured import Captured, capture, captured, outcome
from integration.node import Node
from integration.pods import PORT, Container, Pod, Pods
from integration.workload.connections import OWN_PORT
from integration.workload.server import PORT_V6

FEATURES = ("unix_pair", "unix_server", "tcp_inside", "tcp_outside", "tcp_own_address")
PATIENCE_S = 60.0


class Outside:
    """An echo server of this machine, on the bridge's address: outside of every pod. `lost`: ended connections."""

    def __init__(self, address: str) -> None:
        self._listener = socket.create_server((address, 0))
        self.name = f"{address}:{self._listener.getsockname()[1]}"
        self.lost = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while message := connection.recv(4096):
                connection.sendall(message)
        self.lost += 1


@pytest.fixture(scope="module")
def outside(node: Node) -> Iterator[Outside]:
    """Once there is a pod, the bridge has the first address of the subnet."""
    pods = Pods(node)
    pods.run(handler="runc")
    server = Outside(str(next(ipaddress.ip_network(node.names.subnet).hosts())))
    try:
        yield server
    finally:
        server.close()
        pods.remove_all()


@dataclass(frozen=True, slots=True)
class Twins:
    before: Any
    after: Any
    pod: Pod
    restored: Container


@pytest.fixture(scope="module")
def twins(node: Node, outside: Outside) -> Iterator[Twins]:
    node.ensure_agent()
    pods = Pods(node)
    try:
        env = {"WORKLOAD": ",".join(FEATURES), "WORKLOAD_OUTSIDE": outside.name}
        zoo: Captured = captured(node, pods, env=env)
        pod, container = zoo.restored(node, pods)
        yield Twins(zoo.state, container.state(), pod, container)
    finally:
        pods.remove_all()


def test_unix_sockets_live_on_with_what_is_in_their_queues(twins: Twins) -> None:
    reported = twins.after["unix_pair"]
    assert reported["received"] == reported["sent"] - 1 > twins.before["unix_pair"]["received"]
    assert twins.after["unix_server"] == {"kept": True, "fresh": True}


def test_connections_inside_live_on(twins: Twins) -> None:
    assert twins.before["tcp_inside"] == twins.after["tcp_inside"] == {"kept": True, "fresh": True}


def test_a_connection_to_the_outside_is_closed(twins: Twins) -> None:
    assert twins.before["tcp_outside"] == {"is": "open"}
    assert twins.after["tcp_outside"] == {"is": "closed"}


@pytest.mark.parametrize("port", [PORT, PORT_V6], ids=["0.0.0.0", "::"])
def test_listeners_on_all_addresses_answer_on_the_new_pod_s(twins: Twins, port: int) -> None:
    assert twins.restored.get("/token", port).decode() == twins.before["token"]["memory"]


def test_a_listener_on_the_old_pod_s_address_has_the_new_one(twins: Twins) -> None:
    assert twins.before["tcp_own_address"]["address"] != twins.pod.ip
    assert twins.after["tcp_own_address"] == {"address": twins.pod.ip, "is": "open"}
    with socket.create_connection((twins.pod.ip, OWN_PORT), PATIENCE_S) as connection:
        connection.sendall(b"from outside")
        assert connection.recv(64) == b"from outside"


def test_a_capture_breaks_no_connection_of_the_running_container(
    agent: Node, outside: Outside, pods: Pods
) -> None:
    """Neither its own to the outside, nor one that somebody outside has to it."""
    pod = pods.run(name="running")
    env = {"WORKLOAD": ",".join(FEATURES), "WORKLOAD_OUTSIDE": outside.name, "ANOTHER": "workload"}
    container = pod.serving(env)
    assert outcome(agent, container) == "cold:no-checkpoint"
    lost = outside.lost
    with socket.create_connection((pod.ip, OWN_PORT), PATIENCE_S) as visitor:
        visitor.sendall(b"before")
        assert visitor.recv(64) == b"before"
        done = capture(agent, "default", "running")
        assert done.returncode == 0, done.stderr
        visitor.sendall(b"after")
        assert visitor.recv(64) == b"after"
        reported = container.state()
    assert reported["tcp_outside"]["is"] == reported["tcp_own_address"]["is"] == "open"
    assert reported["tcp_inside"] == reported["unix_server"] == {"kept": True, "fresh": True}
    assert outside.lost == lost
