"""One HTTP/1.1 exchange over a connection that is already there: only the status counts (RFC 9112).

Made for servers that nobody here trusts: no redirect is followed, what is read is bounded in bytes and in time.
"""

import socket
import time

HEAD_LIMIT = 4096
DRAIN_LIMIT = 64 << 10
DRAIN_S = 0.25


def status(connection: socket.socket, method: str, path: str, body: str, until: float) -> int:
    """The status of the answer, 100 to 599. `body`: JSON, or "" for none. `until`: time.monotonic() seconds.

    Raises OSError (TimeoutError when it takes longer), ValueError where the other end talks no HTTP.
    """
    content = body.encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "User-Agent: glowplug", "Connection: close"]
    if method == "POST":
        lines += [f"Content-Length: {len(content)}"] + (["Content-Type: application/json"] if content else [])
    _wait(connection, until)
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
    head = b""
    while b"\n" not in head:
        if len(head) >= HEAD_LIMIT:
            raise ValueError("wanted an HTTP answer, found a first line without an end")
        head += _received(connection, until)
    found = _parsed(head.partition(b"\n")[0])
    _drain(connection, min(until, time.monotonic() + DRAIN_S))
    return found


def _parsed(line: bytes) -> int:
    words = line.split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit() or len(words[1]) != 3:
        raise ValueError("wanted an HTTP answer, found something else")
    return int(words[1])


def _drain(connection: socket.socket, until: float) -> None:
    """Read on for a while, so that a server that is still writing meets no broken pipe."""
    left = DRAIN_LIMIT
    try:
        while left > 0:
            left -= len(_received(connection, until))
    except OSError:
        return


def _received(connection: socket.socket, until: float) -> bytes:
    _wait(connection, until)
    more = connection.recv(HEAD_LIMIT)
    if not more:
        raise ConnectionResetError("the other end closed the connection")
    return more


def _wait(connection: socket.socket, until: float) -> None:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time for an answer was over")
    connection.settimeout(left)
