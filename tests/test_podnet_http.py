"""One HTTP exchange with a server that may be anything: a status, or an error in time."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from glowplug.errors import HostError
from glowplug.podnet import http, inside


@contextmanager
def server(*answers: bytes, silent_s: float = 0.0) -> Iterator[tuple[socket.socket, list[bytes]]]:
    """The client's end of a connection to something that says this, and what it was sent."""
    ours, theirs = socket.socketpair()
    requests: list[bytes] = []

    def answer() -> None:
        requests.append(theirs.recv(65536))
        try:
            for part in answers:
                theirs.sendall(part)
            time.sleep(silent_s)
        except OSError:
            pass  # the other end has heard enough
        finally:
            theirs.close()

    thread = threading.Thread(target=answer)
    thread.start()
    with ours:
        yield ours, requests
    thread.join()


@pytest.mark.parametrize("status", [200, 204, 302, 404, 500])
def test_the_status_is_what_the_server_says(status: int) -> None:
    with server(b"HTTP/1.1 %d Something\r\nLocation: /elsewhere\r\n\r\n" % status) as (connection, requests):
        assert http.status(connection, "GET", "/health", "", time.monotonic() + 5) == status
    assert requests[0].startswith(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")


def test_what_comes_before_the_answer_is_not_the_answer() -> None:
    """1xx: RFC 9110, section 15.2."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r"
    with server(b"HTTP/1.1 100 Continue\r\n\r\n", early, b"\nHTTP/1.1 204 Done\r\n\r\n") as (connection, _):
        assert http.status(connection, "POST", "/sleep", "", time.monotonic() + 5) == 204
    with server(b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000) as (connection, _), pytest.raises(ValueError):
        http.status(connection, "GET", "/", "", time.monotonic() + 5)
    with server(b"HTTP/1.1 100 Continue\n\n") as (connection, _), pytest.raises(ConnectionResetError):
        http.status(connection, "GET", "/", "", time.monotonic() + 5)


def test_a_post_has_a_length_and_says_what_its_body_is() -> None:
    with server(b"HTTP/1.0 200\n\n") as (connection, requests):
        http.status(connection, "POST", "/wake?a=1", "{}", time.monotonic() + 5)
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert b"Content-Length: 2\r\nContent-Type: application/json" in head
    assert body == b"{}"


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 ok\r\n\r\n",
        b"HTTP/2 20\r\n\r\n",
        b"HTTP/1.1 000\r\n",
        b"\r\n",
        b"\0" * 100_000,
    ],
)
def test_what_is_no_http_is_refused(answer: bytes) -> None:
    with server(answer) as (connection, _), pytest.raises(ValueError, match="HTTP answer"):
        http.status(connection, "GET", "/", "", time.monotonic() + 5)


def test_one_that_hangs_up_or_says_nothing_is_an_error_in_time() -> None:
    with server() as (connection, _), pytest.raises(ConnectionResetError):
        http.status(connection, "GET", "/", "", time.monotonic() + 5)
    with server(silent_s=1.0) as (connection, _), pytest.raises(TimeoutError):
        http.status(connection, "GET", "/", "", time.monotonic() + 0.2)


def test_one_that_trickles_is_an_error_in_time() -> None:
    """The time is for all of it, not for each piece."""
    ours, theirs = socket.socketpair()
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(0.02):
            theirs.send(b"x")

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        with pytest.raises(TimeoutError):
            http.status(ours, "GET", "/", "", time.monotonic() + 0.5)
    finally:
        stop.set()
        thread.join()
        ours.close()
        theirs.close()


def test_the_nodes_own_network_is_never_queried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(HostError, match="hostNetwork"):
        inside.connect("/proc/self/ns/net", inside.LOOPBACK, listener.getsockname()[1], time.monotonic() + 5)


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", b"{}"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\n{\r\n1\r\n}\r\n00\r\nX: y\r\n\r\n",
            b"{}",
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
    ],
)
def test_an_answer_ends_where_it_says_and_not_with_the_connection(answer: bytes, content: bytes) -> None:
    """A server, or what is in front of it, may keep the connection although it has to close it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        assert http.exchange(ours, "POST", "/", "", time.monotonic() + 60)[1] == content


def test_a_megabyte_in_chunks_of_one_byte() -> None:
    """In a step for each chunk, not in one for each byte behind it: that was two minutes of CPU time."""
    body = b"1\r\nx\r\n" * (http.BODY_LIMIT * 16 // 6)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with server(head, body) as (connection, _):
        _, content = http.exchange(connection, "POST", "/", "", time.monotonic() + 60, 1 << 20)
    assert content == b"x" * len(content) and len(content) > 1 << 17


@pytest.mark.parametrize("size", [b"zz", b"-1", b"0x2", b"1_0", b" 2", b""])
def test_a_chunk_needs_a_size(size: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\n{}\r\n0\r\n\r\n"
    with server(answer) as (connection, _), pytest.raises(ValueError, match="chunk without a size"):
        http.exchange(connection, "POST", "/", "", time.monotonic() + 60)
