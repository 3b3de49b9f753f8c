"""Connections inside whose queues are full."""

import socket

PIECE = b"0123456789abcdef" * 4096


def _fill(one):
    one.setblocking(False)
    sent = 0
    try:
        while True:
            sent += one.send(PIECE[sent % len(PIECE) :])
    except BlockingIOError:
        return sent


def _drain(one, count):
    one.settimeout(30)
    got = 0
    while got < count:
        piece = one.recv(min(len(PIECE), count - got))
        assert piece, f"{count - got} bytes are lost"
        at = got % len(PIECE)
        assert piece == (PIECE + PIECE)[at : at + len(piece)], "other bytes"
        got += len(piece)


def _connected(family, address):
    with socket.socket(family) as listener:
        listener.bind((address, 0))
        listener.listen()
        one = socket.socket(family)
        one.connect(listener.getsockname()[:2])
        return one, listener.accept()[0]


def both_ways():
    """Over IPv6, all four queues full; then every byte comes through, once."""
    one, other = _connected(socket.AF_INET6, "::1")
    sent = _fill(one), _fill(other)
    done = []

    def check():
        if not done:
            _drain(other, sent[0])
            _drain(one, sent[1])
            done.append(True)
        one.setblocking(True)
        one.sendall(b"more")
        assert other.recv(9) == b"more"

    return check


def then_closed_for_writing():
    """The end of the stream comes behind the data."""
    one, other = _connected(socket.AF_INET, "127.0.0.1")
    sent = _fill(one)
    one.shutdown(socket.SHUT_WR)
    done = []

    def check():
        if not done:
            assert one.fileno() >= 0
            _drain(other, sent)
            assert other.recv(9) == b""
            done.append(True)

    return check


def a_small_buffer():
    one, other = _connected(socket.AF_INET, "127.0.0.1")
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sent = _fill(one)
    done = []

    def check():
        if not done:
            assert one.fileno() >= 0
            _drain(other, sent)
            done.append(True)

    return check


def closed_by_its_writer():
    """Nobody holds the other end any more."""
    one, other = _connected(socket.AF_INET, "127.0.0.1")
    sent = _fill(one)
    one.close()
    done = []

    def check():
        if not done:
            _drain(other, sent)
            assert other.recv(9) == b""
            done.append(True)

    return check


def segments():
    """Over IPv4 and IPv6: as large as they were, and SO_REUSEPORT still off."""
    pairs = [_connected(socket.AF_INET, "127.0.0.1"), _connected(socket.AF_INET6, "::1")]

    def check():
        for pair in pairs:
            for one, other in (pair, pair[::-1]):
                one.sendall(PIECE)
                _drain(other, len(PIECE))
                size = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
                assert size >= 16384, f"segments of {size} bytes"
                assert not one.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT), "SO_REUSEPORT is on"

    return check
