"""Sockets: Unix, TCP with both ends inside the container, TCP to the outside."""

import os
import socket
import threading
from collections.abc import Callable

PATIENCE_S = 30.0
UNIX_PATH = "/tmp/workload.sock"
ECHO_PORT = 9000
OWN_PORT = 9001


def unix_pair() -> Callable[[], object]:
    """A connected pair with a message always in its queue: a try takes it out and sends another."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sent = 0
    left.send(b"0")

    def turn() -> object:
        nonlocal sent
        received = int(right.recv(64))
        sent += 1
        left.send(b"%d" % sent)
        return {"received": received, "sent": sent}

    return turn


def unix_server() -> Callable[[], object]:
    """A listener on a path, one connection kept, and a new one at each try."""
    listener = socket.socket(socket.AF_UNIX)
    if os.path.exists(UNIX_PATH):
        os.unlink(UNIX_PATH)
    listener.bind(UNIX_PATH)
    return _echo_tries(listener, lambda: _unix_connection(UNIX_PATH))


def tcp_inside() -> Callable[[], object]:
    """The same over TCP on the loopback address."""
    listener = socket.create_server(("127.0.0.1", ECHO_PORT))
    return _echo_tries(listener, lambda: socket.create_connection(("127.0.0.1", ECHO_PORT), PATIENCE_S))


def tcp_outside() -> Callable[[], object]:
    """A connection to an echo server at WORKLOAD_OUTSIDE; a try says whether it is still open."""
    host, _, port = os.environ["WORKLOAD_OUTSIDE"].rpartition(":")
    kept = socket.create_connection((host, int(port)), PATIENCE_S)
    return lambda: {"is": _life(kept)}


def tcp_own_address() -> Callable[[], object]:
    """An echo server that listens on the pod's address alone, with a connection of its own to it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; the kernel chooses the address to send from
        address = probe.getsockname()[0]
    listener = socket.create_server((address, OWN_PORT))
    listener.listen()
    threading.Thread(target=_echo_forever, args=(listener,), daemon=True).start()
    kept = socket.create_connection((address, OWN_PORT), PATIENCE_S)
    return lambda: {"address": listener.getsockname()[0], "is": _life(kept)}


def _unix_connection(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE_S)
    connection.connect(path)
    return connection


def _echo_tries(listener: socket.socket, connect: Callable[[], socket.socket]) -> Callable[[], object]:
    listener.listen()
    threading.Thread(target=_echo_forever, args=(listener,), daemon=True).start()
    kept = connect()

    def attempt() -> object:
        with connect() as fresh:
            return {"kept": _echoes(kept), "fresh": _echoes(fresh)}

    return attempt


def _echoes(connection: socket.socket) -> bool:
    return _life(connection) == "open"


def _life(connection: socket.socket) -> str:
    """open: the other end answers; closed: the kernel says that it is gone; silent: neither."""
    message = os.urandom(8)
    try:
        connection.sendall(message)
        return "open" if connection.recv(8) == message else "closed"
    except ConnectionError:
        return "closed"
    except TimeoutError:
        return "silent"


def _echo_forever(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with connection:
        while message := connection.recv(4096):
            connection.sendall(message)
