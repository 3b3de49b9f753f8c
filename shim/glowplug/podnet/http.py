"""One HTTP/1.1 exchange over a connection that is already there: its status, or its body too (RFC 9112).

Made for servers that nobody here trusts: no redirect is followed, what is read is bounded in bytes and in time.
"""

import re
import socket
import time

HEAD_LIMIT = 4096
DRAIN_LIMIT = 64 << 10
DRAIN_S = 0.25

BODY_LIMIT = 64 << 10

_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*(\d{1,18})[ \t]*\r?$")
_CHUNKED = re.compile(rb"(?im)^transfer-encoding:[ \t]*chunked[ \t]*\r?$")
_STATUS = re.compile(rb"[1-5][0-9]{2}")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?")
_LONGEST_LINE = 1024
_WITHOUT_BODY = (204, 304)


def status(connection: socket.socket, method: str, path: str, body: str, until: float) -> int:
    """The status of the answer, 100 to 599. `body`: JSON, or "" for none. `until`: time.monotonic() seconds.

    Raises OSError (TimeoutError when it takes longer), ValueError where the other end talks no HTTP.
    """
    _send(connection, method, path, body, until)
    head = b""
    while (found := _final(head)) is None:
        if len(head) >= HEAD_LIMIT:
            raise ValueError("expected an HTTP answer, got a beginning without an end")
        head += _received(connection, until)
    _drain(connection, min(until, time.monotonic() + DRAIN_S))
    return found


def exchange(
    connection: socket.socket, method: str, path: str, body: str, until: float, limit: int = BODY_LIMIT
) -> tuple[int, bytes]:
    """The status and the body, of which `limit` bytes at most are read. The rest is as of `status`."""
    _send(connection, method, path, body, until)
    (found, head), beginning = _head(connection, until)
    if found in _WITHOUT_BODY:
        return found, b""
    body_so_far = bytearray(beginning)
    if _CHUNKED.search(head):
        return found, _chunked(connection, body_so_far, until, limit)
    length = _LENGTH.search(head)
    needed = min(int(length[1]), limit) if length else limit
    try:
        while len(body_so_far) < needed:
            body_so_far += _received(connection, until)
    except ConnectionResetError:
        if length:
            raise
    return found, bytes(body_so_far[:needed])


def _chunked(connection: socket.socket, data: bytearray, until: float, limit: int) -> bytes:
    """The content of a chunked body (RFC 9112, 7.1), up to its last chunk, the connection's end, or the limit of what
    is read of it. `data`: what is there already."""
    content = bytearray()
    at = 0
    try:
        while at < limit:
            while (end := data.find(b"\r\n", at, at + _LONGEST_LINE)) < 0:
                if len(data) - at >= _LONGEST_LINE:
                    raise ValueError("not an HTTP answer: a chunk without a size")
                data += _received(connection, until)
            line = _SIZE.fullmatch(data, at, end)
            if line is None:
                raise ValueError("not an HTTP answer: a chunk without a size")
            length = min(int(line[1], 16), limit)
            if not length:
                break
            at = end + 2
            while len(data) < at + length + 2:
                data += _received(connection, until)
            content += data[at : at + length]
            at += length + 2
    except ConnectionResetError:
        content += data[at:]
    return bytes(content[:limit])


def _send(connection: socket.socket, method: str, path: str, body: str, until: float) -> None:
    content = body.encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "User-Agent: glowplug", "Connection: close"]
    if method == "POST":
        lines += [f"Content-Length: {len(content)}"] + (["Content-Type: application/json"] if content else [])
    _wait(connection, until)
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)


def _head(connection: socket.socket, until: float) -> tuple[tuple[int, bytes], bytes]:
    """The final status with its header lines, and what came behind them already."""
    head = b""
    while True:
        end = _END.search(head)
        if end and (found := _parsed(head.partition(b"\n")[0])) >= 200:
            return (found, head[: end.end()]), head[end.end() :]
        if end:
            head = head[end.end() :]
            continue
        if b"\n" in head:
            _parsed(head.partition(b"\n")[0])  # what is no HTTP is no answer, however it continues
        if len(head) >= BODY_LIMIT:
            raise ValueError("expected an HTTP answer, got a beginning without an end")
        head += _received(connection, until)


def _final(head: bytes) -> int | None:
    """The status behind all 1xx, which only come before an answer (RFC 9110, 15.2); None where it is not there yet."""
    while b"\n" in head:
        found = _parsed(head.partition(b"\n")[0])
        if found >= 200:
            return found
        _, _, head = head.replace(b"\r", b"").partition(b"\n\n")
    return None


def _parsed(line: bytes) -> int:
    words = line.split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not _STATUS.fullmatch(words[1]):
        raise ValueError("not an HTTP answer")
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
        raise TimeoutError("no complete answer in time")
    connection.settimeout(left)
