"""What the kernel says of the sockets of a network namespace, over netlink (sock_diag(7))."""

import socket
from collections.abc import Iterator

from glowplug.podnet import inside, netlink

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY = 4, 20


def dump(namespace: str, request: bytes) -> Iterator[bytes]:
    """A message for each socket of a network namespace file that the request is for: what follows netlink's header.

    Raises OSError, and HostError for the namespace that this process is in.
    """
    with inside.made_in(namespace, socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG) as made:
        yield from netlink.dump(made, SOCK_DIAG_BY_FAMILY, request)
