"""Sockets that are bound to an address which no other pod has."""

import ipaddress
import os
import socket
from collections.abc import Iterator

from glowplug.capture.preflight.tree import Refusal, Tree, shown
from glowplug.errors import HostError
from glowplug.host import descriptors
from glowplug.podnet import interfaces

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_INET = (socket.AF_INET, socket.AF_INET6)


def foreign(tree: Tree) -> Iterator[Refusal]:
    """A pod has one address of each family at an interface, from its network plugin. One that it gave itself beside it
    is not there in another pod; and CRIU can't bind to one that nobody has (IP_FREEBIND, IP_TRANSPARENT).

    Nor would a connection inside continue, on an address that is gone. Those to the outside end in any case.
    """
    try:
        found = interfaces.read(f"/proc/{tree.pids[0]}/ns/net")
    except (OSError, HostError):
        return  # the capture reads them again, and says so
    usual = {address for address, (_, nth) in interfaces.places(found).items() if nth == 0}
    usual |= {
        str(ipaddress.ip_interface(text).network.broadcast_address) for one in found for text in one.addresses
    }
    own = {text.partition("/")[0] for one in found for text in one.addresses}
    for one in tree.sockets:
        address = _bound(one, own)
        if address is not None and str(address) not in usual and not _is_everywhere(address):
            yield Refusal(
                "own-address",
                f"{shown(one.pid)} has a socket (descriptor {one.number}) that is bound to {address}, which is not "
                "the address that every pod has at an interface: bind it to the wildcard address",
            )


def _is_everywhere(address: Address) -> bool:
    everywhere = address.is_unspecified or address.is_loopback or address.is_multicast
    return everywhere or address == ipaddress.IPv4Address("255.255.255.255")


def _bound(one: descriptors.Descriptor, own: set[str]) -> Address | None:
    """The address of a socket; of a connection only where it is one of the pod with itself. `own`: the pod's."""
    try:
        with (
            descriptors.borrowed(one.pid, one.number) as fd,
            socket.socket(fileno=os.dup(fd)) as copy,
        ):
            if copy.family not in _INET:
                return None
            peer = _peer(copy) if copy.type == socket.SOCK_STREAM else None
            if peer is not None and not peer.is_loopback and str(peer) not in own:
                return None
            return _parsed(copy.getsockname())
    except (OSError, ValueError):
        return None


def _peer(copy: socket.socket) -> Address | None:
    try:
        return _parsed(copy.getpeername())
    except OSError:
        return None


def _parsed(name: tuple[str, int]) -> Address:
    address = ipaddress.ip_address(name[0].partition("%")[0])
    mapped: Address | None = getattr(address, "ipv4_mapped", None)
    return mapped or address
