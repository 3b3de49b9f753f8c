"""Sockets of kinds that CRIU can't dump, or could not restore."""

import ctypes
import os
import socket
from collections.abc import Iterator

from glowplug.capture.preflight.tree import Refusal, Tree, shown
from glowplug.host import descriptors

SO_PROTOCOL, SO_DOMAIN = 38, 39  # the same on all architectures but alpha, parisc, sparc
IPPROTO_MPTCP, IPPROTO_SCTP, IPPROTO_SMC = 262, 132, 256
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
    value, length = ctypes.c_int(0), ctypes.c_uint(4)
    if _libc.getsockopt(fd, socket.SOL_SOCKET, name, ctypes.byref(value), ctypes.byref(length)):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return value.value
