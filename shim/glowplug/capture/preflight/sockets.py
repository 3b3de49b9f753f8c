"""Sockets of kinds that CRIU can't dump, or could not restore."""

import ctypes
import os
import socket
import sys
from collections.abc import Iterator

from glowplug.capture.preflight.tree import Refusal, Tree, shown
from glowplug.host import descriptors

SO_PROTOCOL, SO_DOMAIN = 38, 39  # the same on all architectures but alpha, parisc, sparc
IPPROTO_MPTCP, IPPROTO_SCTP, IPPROTO_SMC = 262, 132, 256
SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS = 270, 9
TCP_ULP = 31
_MOST_GROUPS = 1 << 16
_INET = (socket.AF_INET, socket.AF_INET6)
_DOMAINS = (*_INET, socket.AF_UNIX, socket.AF_PACKET, socket.AF_NETLINK)
# can_dump_ipproto() in criu/sk-inet.c
_PROTOCOLS = (0, socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_UDPLITE)
_NAMES = {
    IPPROTO_SCTP: "SCTP",
    IPPROTO_SMC: "SMC",
    socket.AF_VSOCK: "AF_VSOCK",
    socket.AF_ALG: "AF_ALG (the kernel's cryptography)",
    socket.AF_CAN: "AF_CAN",
    getattr(socket, "AF_XDP", 44): "AF_XDP",
}

_libc = ctypes.CDLL(None, use_errno=True)


def unsupported(tree: Tree) -> Iterator[Refusal]:
    """By what the kernel says of each (getsockopt(2)); one that is closed meanwhile is left out."""
    for one in tree.sockets:
        try:
            with descriptors.borrowed(one.pid, one.number) as fd:
                domain, protocol, kind = (
                    _option(fd, name) for name in (SO_DOMAIN, SO_PROTOCOL, socket.SO_TYPE)
                )
                refusal = _judged(one, domain, protocol, kind, fd)
        except OSError:
            continue
        if refusal is not None:
            yield refusal


def _judged(one: descriptors.Descriptor, domain: int, protocol: int, kind: int, fd: int) -> Refusal | None:
    holder = f"{shown(one.pid)} holds (descriptor {one.number})"
    if domain not in _DOMAINS:
        return Refusal(
            "socket-kind", f"{holder} a socket of {_NAMES.get(domain, f'family {domain}')}: close it first"
        )
    if domain == socket.AF_NETLINK:
        return _of_groups(holder, fd)
    if domain in _INET and protocol == socket.IPPROTO_TCP and (layer := _text(fd, protocol, TCP_ULP)):
        return Refusal(
            "tcp-ulp",
            f"{holder} a connection whose data the kernel transforms ({layer}), which would come back without that: "
            "close it first, or leave kernel TLS off",
        )
    if domain not in _INET or kind == socket.SOCK_RAW or protocol in _PROTOCOLS:
        return None
    if protocol == IPPROTO_MPTCP:
        return Refusal(
            "mptcp",
            f"{holder} an MPTCP socket{_where(fd, domain)}, which CRIU can't dump: set GODEBUG=multipathtcp=0 for a "
            "Go program, or leave glowplug.dev/mptcp off, so that it is withheld",
        )
    if protocol in (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6):
        return Refusal(
            "ping-socket", f"{holder} a ping socket (ICMP), which can't be restored: close it first"
        )
    return Refusal(
        "socket-kind", f"{holder} a socket of {_NAMES.get(protocol, f'protocol {protocol}')}: close it first"
    )


def _of_groups(holder: str, fd: int) -> Refusal | None:
    """CRIU knows the first 32 multicast groups of a netlink socket, and those only of one that is bound
    (criu/sk-netlink.c)."""
    with socket.socket(fileno=os.dup(fd)) as copy:
        port = copy.getsockname()[0]
    members = _bytes(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, _MOST_GROUPS // 8)
    if any(members[4:]):
        what, instead = "that has joined a group beyond the first 32", "close it first"
    elif any(members) and not port:
        what, instead = "that has joined a group and is not bound", "bind(2) it"
    else:
        return None
    return Refusal("netlink-groups", f"{holder} a netlink socket {what}, which can't be dumped: {instead}")


def _where(fd: int, domain: int) -> str:
    """` on port 8080` where it is bound."""
    family = socket.AF_INET if domain == socket.AF_INET else socket.AF_INET6
    copy = socket.socket(family, socket.SOCK_STREAM, fileno=os.dup(fd))
    with copy:
        try:
            port = copy.getsockname()[1]
        except OSError:
            return ""
    return f" on port {port}" if port else ""


def _option(fd: int, name: int) -> int:
    return int.from_bytes(_bytes(fd, socket.SOL_SOCKET, name, 4), sys.byteorder)


def _text(fd: int, level: int, name: int) -> str:
    """Empty where there is none, and where the kernel does not know the option."""
    try:
        return _bytes(fd, level, name, 16).rstrip(b"\0").decode("ascii", "backslashreplace")
    except OSError:
        return ""


def _bytes(fd: int, level: int, name: int, most: int) -> bytes:
    """By getsockopt(2). Raises OSError."""
    value, length = ctypes.create_string_buffer(most), ctypes.c_uint(most)
    if _libc.getsockopt(fd, level, name, value, ctypes.byref(length)):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return value.raw[: min(length.value, most)]
