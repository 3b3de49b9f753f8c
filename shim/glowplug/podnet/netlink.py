"""netlink's messages: a request, and the answers to a dump (netlink(7))."""

import os
import socket
import struct
from collections.abc import Iterator

HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
BUFFER = 1 << 16
REQUEST, ACK, DUMP = 0x1, 0x4, 0x300  # NLM_F_…; a dump: NLM_F_ROOT | NLM_F_MATCH
_ERROR, _DONE = 2, 3
_TYPE = 0x3FFF  # NLA_TYPE_MASK


def send(netlink: socket.socket, kind: int, flags: int, body: bytes) -> None:
    """One message, the only one that is under way on this socket. Raises OSError."""
    netlink.send(HEADER.pack(HEADER.size + len(body), kind, REQUEST | flags, 1, 0) + body)


def dump(netlink: socket.socket, kind: int, body: bytes) -> Iterator[bytes]:
    """The answers to a request for all that there is of this kind. Raises OSError."""
    send(netlink, kind, DUMP, body)
    yield from answers(netlink)


def answers(netlink: socket.socket) -> Iterator[bytes]:
    """What follows the header of each message, to the end of the dump. Raises OSError."""
    while True:
        data = netlink.recv(BUFFER)
        at = 0
        while at < len(data):
            length, kind, *_ = HEADER.unpack_from(data, at)
            if kind == _DONE:
                return
            if kind == _ERROR:
                number = -int(struct.unpack_from("=i", data, at + HEADER.size)[0])
                raise OSError(number, os.strerror(number))
            yield data[at + HEADER.size : at + length]
            at += (length + 3) & ~3


def attributes(message: bytes, at: int) -> dict[int, bytes]:
    """Those of a message, which follow its fixed part of `at` bytes."""
    values: dict[int, bytes] = {}
    while at + ATTRIBUTE.size <= len(message):
        length, kind = ATTRIBUTE.unpack_from(message, at)
        values[kind & _TYPE] = message[at + ATTRIBUTE.size : at + length]
        at += max((length + 3) & ~3, ATTRIBUTE.size)
    return values
