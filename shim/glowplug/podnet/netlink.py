"""netlink's answers to a dump (netlink(7))."""

import os
import socket
import struct
from collections.abc import Iterator

HEADER = struct.Struct("=IHHII")
BUFFER = 1 << 16
_ERROR, _DONE = 2, 3


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
