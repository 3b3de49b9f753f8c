"""The interfaces of a network namespace with their addresses: read, and made again in a namespace of one's own.

Over rtnetlink(7), with the few messages that this takes. What is made has the names and addresses of what was read
and leads nowhere: a dummy drops its packets, a bridge without ports has nobody to give them to.
"""

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

from glowplug.podnet import inside
from glowplug.podnet.netlink import ACK, ATTRIBUTE, BUFFER, HEADER, attributes, dump, send

LOOPBACK = "lo"

_NEWLINK, _GETLINK, _NEWADDR, _GETADDR, _NEWROUTE = 16, 18, 20, 22, 24
_EXCLUSIVE, _CREATE = 0x200, 0x400
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 18, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFF_UP = 0x1
_RTA_OIF, _TABLE_MAIN, _RTPROT_BOOT, _SCOPE_LINK, _RTN_UNICAST = 4, 254, 3, 253, 1
_IFA_F_NODAD = 0x02
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_KINDS = (b"dummy", b"bridge")

Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface


class Interface(NamedTuple):
    """`addresses`: with their prefixes, in the kernel's order: the first of each family is the main one."""

    name: str
    addresses: tuple[str, ...]


def read(namespace: str) -> tuple[Interface, ...]:
    """Of the namespace file, such as /proc/PID/ns/net, without the loopback. Raises OSError, HostError for our own."""
    with inside.made_in(namespace, socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        names: dict[int, str] = {}
        for message in dump(netlink, _GETLINK, _LINK.pack(0, 0, 0, 0, 0)):
            index = _LINK.unpack_from(message)[2]
            names[index] = attributes(message, _LINK.size)[_IFLA_IFNAME].rstrip(b"\0").decode()
        found: dict[str, list[str]] = {name: [] for name in names.values()}
        for message in dump(netlink, _GETADDR, _ADDRESS.pack(0, 0, 0, 0, 0)):
            family, prefix, _, _, index = _ADDRESS.unpack_from(message)
            said = attributes(message, _ADDRESS.size)
            packed = said.get(_IFA_LOCAL) or said.get(_IFA_ADDRESS)
            if packed and family in (socket.AF_INET, socket.AF_INET6) and index in names:
                found[names[index]].append(f"{ipaddress.ip_address(packed)}/{prefix}")
    return tuple(Interface(name, tuple(listed)) for name, listed in found.items() if name != LOOPBACK)


def places(interfaces: Iterable[Interface]) -> dict[str, tuple[str, int]]:
    """Address → its interface, and which one of its family it is there; without those that a link gives itself."""
    found = {}
    for interface in interfaces:
        counted = {4: 0, 6: 0}
        for text in interface.addresses:
            address = ipaddress.ip_interface(text).ip
            if not address.is_link_local:
                found[str(address)] = (interface.name, counted[address.version])
                counted[address.version] += 1
    return found


def main_ones(interfaces: Iterable[Interface]) -> tuple[Interface, ...]:
    """Each with the first address of a family, which is what another pod has there."""
    first = {address for address, (_, nth) in places(interfaces).items() if nth == 0}
    return tuple(
        Interface(one.name, tuple(text for text in one.addresses if text.partition("/")[0] in first))
        for one in interfaces
    )


def make(interfaces: tuple[Interface, ...]) -> None:
    """In the namespace of this thread, a new one, with its loopback up. Raises OSError.

    Whatever has no route of its own would leave by the first interface of its family, as in a pod: connect(2) of a
    datagram socket asks for a route.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        _up(netlink, LOOPBACK)
        for interface in interfaces:
            _create(netlink, interface.name)
            _up(netlink, interface.name)
            for address in interface.addresses:
                _add(netlink, interface.name, ipaddress.ip_interface(address))
        for family in (4, 6):
            way_out = next((one.name for one in interfaces if _has(one, family)), "")
            if way_out:
                _route(netlink, way_out, family)


def _has(interface: Interface, version: int) -> bool:
    return any(ipaddress.ip_interface(address).version == version for address in interface.addresses)


def _route(netlink: socket.socket, name: str, version: int) -> None:
    """The default route of a family."""
    family, scope = (socket.AF_INET, _SCOPE_LINK) if version == 4 else (socket.AF_INET6, 0)
    body = _ROUTE.pack(family, 0, 0, 0, _TABLE_MAIN, _RTPROT_BOOT, scope, _RTN_UNICAST, 0)
    _ask(
        netlink,
        _NEWROUTE,
        _CREATE,
        body + _attribute(_RTA_OIF, struct.pack("=I", socket.if_nametoindex(name))),
    )


def _create(netlink: socket.socket, name: str) -> None:
    """Of the first kind that this kernel has. Raises OSError."""
    for kind in _KINDS:
        info = _attribute(_IFLA_LINKINFO, _attribute(_IFLA_INFO_KIND, kind))
        link_name = _attribute(_IFLA_IFNAME, name.encode() + b"\0")
        try:
            _ask(netlink, _NEWLINK, _CREATE | _EXCLUSIVE, _LINK.pack(0, 0, 0, 0, 0) + link_name + info)
            break
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP or kind == _KINDS[-1]:
                raise


def _up(netlink: socket.socket, name: str) -> None:
    _ask(netlink, _NEWLINK, 0, _LINK.pack(0, 0, socket.if_nametoindex(name), _IFF_UP, _IFF_UP))


def _add(netlink: socket.socket, name: str, address: Address) -> None:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    header = _ADDRESS.pack(family, address.network.prefixlen, 0, 0, socket.if_nametoindex(name))
    packed = address.ip.packed
    flags = _attribute(_IFA_FLAGS, struct.pack("=I", _IFA_F_NODAD))
    try:
        body = header + _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed) + flags
        _ask(netlink, _NEWADDR, _CREATE, body)
    except FileExistsError:
        return  # an IPv6 address of its own that the kernel makes of the interface's


def _ask(netlink: socket.socket, kind: int, flags: int, body: bytes) -> None:
    """One request and its acknowledgement. Raises OSError."""
    send(netlink, kind, ACK | flags, body)
    data = netlink.recv(BUFFER)
    number = -int(struct.unpack_from("=i", data, HEADER.size)[0])
    if number:
        raise OSError(number, os.strerror(number))


def _attribute(kind: int, value: bytes) -> bytes:
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)
