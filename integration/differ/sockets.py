"""All that getsockopt(2) says of a socket: every option of every level, whether anybody has heard of it or not."""

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Iterator

from glowplug.host import socket_state
from glowplug.podnet import addresses
from integration.differ.numbers import Numbers

UDP = 17
SO_PEERCRED, IP_MULTICAST_IF, TCP_INFO = 17, 32, 11
LISTEN = 10  # TCP_LISTEN, and TCP_INFO's first byte
LEVELS = {
    "SOCKET": (socket.SOL_SOCKET, range(1, 91)),
    "IP": (socket.IPPROTO_IP, range(1, 53)),
    "IPV6": (socket.IPPROTO_IPV6, range(1, 79)),
    "TCP": (socket.IPPROTO_TCP, range(1, 50)),
    "UDP": (socket.IPPROTO_UDP, range(1, 111)),
}
NOT_QUERIED = {
    # What the question would change: SO_ERROR is forgotten, SO_PEERPIDFD makes a descriptor, TCP_SAVED_SYN is freed,
    # TCP_ZEROCOPY_RECEIVE moves pages.
    ("SOCKET", 4), ("SOCKET", 77), ("TCP", 28), ("TCP", 35),
    # Counters and measures: SO_INCOMING_CPU, SO_MEMINFO, SO_INCOMING_NAPI_ID; TCP_INFO, TCP_QUICKACK,
    # TCP_TIMESTAMP, TCP_CC_INFO.
    ("SOCKET", 49), ("SOCKET", 55), ("SOCKET", 56), ("TCP", 11), ("TCP", 12), ("TCP", 24), ("TCP", 26),
    # Routes that were found: IP_MTU, IPV6_MTU, IPV6_PATHMTU.
    ("IP", 14), ("IPV6", 24), ("IPV6", 61),
    # Numbers of this one socket (SO_COOKIE), and keys of the network namespace (TCP_FASTOPEN_KEY).
    ("SOCKET", 57), ("TCP", 33),
    # Answered from the question itself, or of the firewall: MCAST_MSFILTER, IP_MSFILTER, IP6T_SO_GET_INFO and
    # its like, TCP_REPAIR_QUEUE and its like, TCP_AO_INFO and its like.
    ("IP", 41), ("IP", 48), ("IPV6", 48), ("IPV6", 64), ("IPV6", 65), ("IPV6", 68), ("IPV6", 69),
    ("TCP", 19), ("TCP", 20), ("TCP", 21), ("TCP", 22), ("TCP", 29), *(("TCP", at) for at in range(38, 43)),
}  # fmt: skip
_BUFFER = 65536  # SO_GET_FILTER counts in instructions of 8 bytes
_QUERY_BYTES = 4096

_libc = ctypes.CDLL(None, use_errno=True)


def of(fd: int, pid: int, numbers: Numbers) -> Iterator[tuple[str, str]]:
    """`fd`: a copy of a descriptor of the process `pid`. Raises OSError."""
    kind, own = socket_state.kind(fd), addresses.of_process(pid)
    yield "socket", " ".join(str(one) for one in kind)
    with socket.socket(fileno=_duplicate(fd)) as copy:
        for name, ask in (("name", copy.getsockname), ("peer", copy.getpeername)):
            with contextlib.suppress(OSError):
                yield name, _own_replaced(str(ask()), own)
    if kind[2] == socket.IPPROTO_TCP and kind[0] in (socket.AF_INET, socket.AF_INET6):
        yield from _tcp(fd)
    of_what = _of_what(fd, kind)
    for level, (number, options) in LEVELS.items():
        if not _has(kind, level):
            continue
        for option in options:
            if (level, option) not in NOT_QUERIED and (value := _query(fd, number, option)) is not None:
                if (level, option) == ("SOCKET", SO_PEERCRED):
                    peer, user, group = struct.unpack("iii", value)
                    value = struct.pack("iii", numbers.inside(peer), user, group)
                if (level, option) == ("IP", IP_MULTICAST_IF) and socket.inet_ntoa(value) in own:
                    value = b"own"
                yield f"{of_what}/{level}-{option}", value.hex() or "nothing"
    yield "groups", str(socket_state.groups(fd, kind, socket_state.known_groups(pid)))


def _own_replaced(name: str, own: tuple[str, ...]) -> str:
    """The pod's own address is another in a new pod."""
    for address in own:
        name = name.replace(f"'{address}'", "'the pod's'")
    return name


def _tcp(fd: int) -> Iterator[tuple[str, str]]:
    state = socket_state.tcp_state(fd)
    yield "state", str(state)
    info = _query(fd, socket.IPPROTO_TCP, TCP_INFO) or b""
    if state == LISTEN and len(info) >= 32:
        yield "backlog", str(struct.unpack_from("I", info, 28)[0])  # tcpi_sacked of a listener


def _of_what(fd: int, kind: socket_state.Kind) -> str:
    """What an option means depends on it."""
    if kind[0] == socket.AF_UNIX:
        return "unix"
    return (
        "connection" if kind[2] == socket.IPPROTO_TCP and socket_state.tcp_state(fd) != LISTEN else "options"
    )


def _has(kind: socket_state.Kind, level: str) -> bool:
    family, _, protocol = kind
    inet = family in (socket.AF_INET, socket.AF_INET6)
    return {
        "SOCKET": True,
        "IP": inet,
        "IPV6": family == socket.AF_INET6,
        "TCP": inet and protocol == socket.IPPROTO_TCP,
        "UDP": inet and protocol == UDP,
    }[level]


def _query(fd: int, level: int, option: int) -> bytes | None:
    """None where there is no such option, or none to be read."""
    buffer, length = ctypes.create_string_buffer(_BUFFER), ctypes.c_uint(_QUERY_BYTES)
    if _libc.getsockopt(fd, level, option, buffer, ctypes.byref(length)):
        return None
    return buffer.raw[: length.value * (8 if (level, option) == (socket.SOL_SOCKET, 26) else 1)]


def _duplicate(fd: int) -> int:
    """Python's socket closes its descriptor."""
    return os.dup(fd)
