"""What the kernel says of the sockets of a network namespace, over netlink (sock_diag(7))."""

import socket
import struct
from collections.abc import Iterator

from glowplug.podnet import inside
from glowplug.podnet.netlink import HEADER, answers

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY = 4, 20
_DUMP = 0x1 | 0x100 | 0x200  # NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH
_ATTRIBUTE = struct.Struct("=HH")


def dump(namespace: str, request: bytes) -> Iterator[bytes]:
    """A message for each socket of a network namespace file that the request is for: what follows netlink's header.

    Raises OSError, and HostError for the namespace that this process is in.
    """
    with inside.made_in(namespace, socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG) as netlink:
        netlink.send(HEADER.pack(HEADER.size + len(request), SOCK_DIAG_BY_FAMILY, _DUMP, 1, 0) + request)
        yield from answers(netlink)


def attributes(message: bytes, at: int) -> dict[int, bytes]:
    """Those of such a message, which follow its fixed part of `at` bytes."""
    values: dict[int, bytes] = {}
    while at + _ATTRIBUTE.size <= len(message):
        length, number = _ATTRIBUTE.unpack_from(message, at)
        values[number] = message[at + _ATTRIBUTE.size : at + length]
        at += max((length + 3) & ~3, _ATTRIBUTE.size)
    return values
