"""Options and multicast groups of a socket that CRIU does not know: read from one, set on another of the same kind.

Both go through a copy of the descriptor (descriptors.borrowed). What is read is what differs from a new socket of
that kind. Standard library only: a capture reads it, a restore sets it.
"""

import _socket
import contextlib
import ctypes
import errno
import fcntl
import os
import struct

SO_REUSEPORT, SO_PROTOCOL, SO_DOMAIN = 15, 38, 39
SIOCOUTQ = 0x5411
SIOCGIFCONF, SIOCGIFADDR, SIOCGIFINDEX = 0x8912, 0x8915, 0x8933
IP_MULTICAST_IF, IPV6_MULTICAST_IF = 32, 17
IP_OPTIONS, IPV6_DSTOPTS = 4, 59
TCP_INFO, TCP_CONGESTION, TCP_RTO_MAX_MS = 11, 13, 44
TCP_ESTABLISHED, TCP_CLOSE, TCP_LISTEN = 1, 7, 10
_INET = (_socket.AF_INET, _socket.AF_INET6)

# Level → option → name. Integers that getsockopt gives as setsockopt takes them (linux/tcp.h, in.h, in6.h, udp.h,
# asm-generic/_socket.h). Left out: what CRIU restores (criu/sockets.c, sk-inet.c), what the kernel adapts on its own
# (TCP_QUICKACK, TCP_MAXSEG), and what can be set once only and before bind(2).
_SOCKET = {
    5: "SO_DONTROUTE", 6: "SO_BROADCAST", 9: "SO_KEEPALIVE", 10: "SO_OOBINLINE", 11: "SO_NO_CHECK",
    12: "SO_PRIORITY", 15: "SO_REUSEPORT", 16: "SO_PASSCRED", 18: "SO_RCVLOWAT", 29: "SO_TIMESTAMP_OLD",
    34: "SO_PASSSEC", 35: "SO_TIMESTAMPNS_OLD", 36: "SO_MARK", 37: "SO_TIMESTAMPING_OLD", 40: "SO_RXQ_OVFL",
    42: "SO_PEEK_OFF", 43: "SO_NOFCS", 45: "SO_SELECT_ERR_QUEUE", 46: "SO_BUSY_POLL",
    47: "SO_MAX_PACING_RATE", 49: "SO_INCOMING_CPU", 60: "SO_ZEROCOPY", 69: "SO_PREFER_BUSY_POLL",
    70: "SO_BUSY_POLL_BUDGET", 74: "SO_TXREHASH", 75: "SO_RCVMARK", 76: "SO_PASSPIDFD", 82: "SO_RCVPRIORITY",
    83: "SO_PASSRIGHTS", 84: "SO_INQ",
}  # fmt: skip
_IP = {
    1: "IP_TOS", 2: "IP_TTL", 8: "IP_PKTINFO", 10: "IP_MTU_DISCOVER", 11: "IP_RECVERR", 12: "IP_RECVTTL",
    13: "IP_RECVTOS", 15: "IP_FREEBIND", 19: "IP_TRANSPARENT", 20: "IP_RECVORIGDSTADDR", 21: "IP_MINTTL",
    24: "IP_BIND_ADDRESS_NO_PORT", 25: "IP_RECVFRAGSIZE", 26: "IP_RECVERR_RFC4884", 33: "IP_MULTICAST_TTL",
    34: "IP_MULTICAST_LOOP", 49: "IP_MULTICAST_ALL", 51: "IP_LOCAL_PORT_RANGE",
}  # fmt: skip
_IPV6 = {
    16: "IPV6_UNICAST_HOPS", 18: "IPV6_MULTICAST_HOPS", 19: "IPV6_MULTICAST_LOOP", 23: "IPV6_MTU_DISCOVER",
    25: "IPV6_RECVERR", 29: "IPV6_MULTICAST_ALL", 49: "IPV6_RECVPKTINFO", 51: "IPV6_RECVHOPLIMIT",
    62: "IPV6_DONTFRAG", 66: "IPV6_RECVTCLASS", 67: "IPV6_TCLASS", 70: "IPV6_AUTOFLOWLABEL",
    73: "IPV6_MINHOPCOUNT", 74: "IPV6_RECVORIGDSTADDR", 75: "IPV6_TRANSPARENT", 78: "IPV6_FREEBIND",
}  # fmt: skip
_TCP = {
    1: "TCP_NODELAY", 4: "TCP_KEEPIDLE", 5: "TCP_KEEPINTVL", 6: "TCP_KEEPCNT", 7: "TCP_SYNCNT", 8: "TCP_LINGER2",
    9: "TCP_DEFER_ACCEPT", 18: "TCP_USER_TIMEOUT", 23: "TCP_FASTOPEN", 25: "TCP_NOTSENT_LOWAT",
    27: "TCP_SAVE_SYN", 36: "TCP_INQ", 37: "TCP_TX_DELAY",
}  # fmt: skip
_UDP = {
    100: "UDP_ENCAP", 101: "UDP_NO_CHECK6_TX", 102: "UDP_NO_CHECK6_RX", 103: "UDP_SEGMENT", 104: "UDP_GRO",
}  # fmt: skip

_MCAST_JOIN_GROUP, _MCAST_BLOCK_SOURCE, _MCAST_JOIN_SOURCE_GROUP, _MCAST_MSFILTER = 42, 43, 46, 48
_INCLUDE, _EXCLUDE = 1, 0
_ADDRESS = 128  # sizeof(struct sockaddr_storage)
_SOURCES = 64

Kind = tuple[int, int, int]
"""Family, type, protocol."""
Group = tuple[str, str, int, list[str]]
"""Interface's name, group, filter mode, sources."""

_libc = ctypes.CDLL(None, use_errno=True)


def kind(fd: int) -> Kind:
    """Raises OSError for what is no _socket."""
    family, of_type, protocol = (
        _get(fd, _socket.SOL_SOCKET, name) for name in (SO_DOMAIN, _socket.SO_TYPE, SO_PROTOCOL)
    )
    if family is None or of_type is None or protocol is None:
        raise OSError(errno.ENOTSOCK, "a descriptor is not a socket")
    return family, of_type, protocol


def options(fd: int, of: Kind) -> dict[str, int]:
    """By name, those that differ from a new socket's of that kind."""
    try:
        fresh = _socket.socket(*of)
    except OSError:
        return {}
    with contextlib.closing(fresh):
        found = {}
        for level, number, name in _known(of):
            value = _get(fd, level, number)
            if value is not None and value != _get(fresh.fileno(), level, number):
                found[name] = value
        linger = _linger(fd)
        if linger[0]:
            found["SO_LINGER"] = linger[1]
        return found


def changed_by_criu(fd: int, of: Kind) -> dict[str, int]:
    """By name, options of a TCP connection that CRIU sets so that it can bind its address, and leaves so."""
    if of[2] != _socket.IPPROTO_TCP or of[0] not in _INET or tcp_state(fd) in (TCP_CLOSE, TCP_LISTEN):
        return {}
    value = _get(fd, _socket.SOL_SOCKET, SO_REUSEPORT)
    return {} if value is None else {"SO_REUSEPORT": value}


def measure_segments_anew(fd: int, of: Kind) -> None:
    """Have a TCP connection look at its route again: in one that was repaired, segments stay as small as they are
    before any option of the other end is known (536 bytes, RFC 9293), which CRIU restores too late.

    Options of IP that are set, to none as well, make the kernel do so (net/ipv4/ip_sockglue.c, net/ipv6/
    ipv6_sockglue.c).
    """
    level, number = (
        (_socket.IPPROTO_IP, IP_OPTIONS) if of[0] == _socket.AF_INET else (_socket.IPPROTO_IPV6, IPV6_DSTOPTS)
    )
    _libc.setsockopt(fd, level, number, None, 0)


def set_options(fd: int, of: Kind, values: dict[str, int]) -> list[str]:
    """Set those that are not so already; the names of those that the kernel refuses."""
    refused = []
    numbers = {name: (level, number) for level, number, name in _known(of)}
    for name, value in values.items():
        if name == "SO_LINGER":
            data, level, number = struct.pack("ii", 1, value), _socket.SOL_SOCKET, _socket.SO_LINGER
        elif name in numbers:
            level, number = numbers[name]
            if _get(fd, level, number) == value:
                continue
            data = struct.pack("i", value)
        else:
            continue  # of a newer Glowplug
        if _libc.setsockopt(fd, level, number, data, len(data)):
            refused.append(name)
    return refused


def tcp_state(fd: int) -> int:
    """The first byte of TCP_INFO; 0 for a socket that has none."""
    buffer, length = ctypes.create_string_buffer(1), ctypes.c_uint(1)
    if _libc.getsockopt(fd, _socket.IPPROTO_TCP, TCP_INFO, buffer, ctypes.byref(length)):
        return 0
    return buffer.raw[0]


def has_unacknowledged(fd: int, of: Kind) -> bool:
    """Whether a TCP socket has data that the other end has not taken."""
    if of[2] != _socket.IPPROTO_TCP or of[0] not in _INET or tcp_state(fd) == TCP_LISTEN:
        return False
    return bool(struct.unpack("i", fcntl.ioctl(fd, SIOCOUTQ, bytes(4)))[0])


def try_again_soon(fd: int) -> None:
    """Have a TCP socket try again each second at the least (Linux 6.15; older ones wait up to two minutes).

    No sooner than it was about to: a window of 0 that nobody confirmed for two such times ends the connection
    (tcp_rtx_probe0_timed_out in net/ipv4/tcp_timer.c), and the times between tries grow while a restore is slow.
    """
    info, length = ctypes.create_string_buffer(12), ctypes.c_uint(12)
    _libc.getsockopt(fd, _socket.IPPROTO_TCP, TCP_INFO, info, ctypes.byref(length))
    due_ms = struct.unpack_from("I", info.raw, 8)[0] // 1000  # tcpi_rto
    data = struct.pack("i", max(1000, due_ms))
    _libc.setsockopt(fd, _socket.IPPROTO_TCP, TCP_RTO_MAX_MS, data, len(data))


def congestion(fd: int, of: Kind) -> str:
    """The congestion control of a TCP socket where it is not the default one; "" else."""
    if of[2] != _socket.IPPROTO_TCP or of[0] not in _INET:
        return ""
    found = _text(fd, _socket.IPPROTO_TCP, TCP_CONGESTION)
    with contextlib.closing(_socket.socket(*of)) as fresh:
        return "" if found == _text(fresh.fileno(), _socket.IPPROTO_TCP, TCP_CONGESTION) else found


def set_congestion(fd: int, name: str) -> bool:
    """Whether it could be set."""
    data = name.encode()
    return not _libc.setsockopt(fd, _socket.IPPROTO_TCP, TCP_CONGESTION, data, len(data))


def groups(fd: int, of: Kind, known: list[tuple[str, int, str]]) -> list[Group]:
    """The multicast groups that it has joined. known: `known_groups` of its network namespace."""
    found: list[Group] = []
    if of[0] not in _INET or of[1] == _socket.SOCK_STREAM:
        return found
    for interface, index, group in known:
        family = _socket.AF_INET6 if ":" in group else _socket.AF_INET
        if family == _socket.AF_INET6 and of[0] == _socket.AF_INET:
            continue
        joined = _filter(fd, family, index, group)
        if joined is not None:
            found.append((interface, group, *joined))
    return found


def known_groups(pid: int) -> list[tuple[str, int, str]]:
    """(interface, its index, group) of all that is joined in the network namespace of a process."""
    found = []
    interface, index = "", 0
    with contextlib.suppress(OSError), open(f"/proc/{pid}/net/igmp") as lines:
        next(lines)
        for line in lines:
            words = line.split()
            if not line.startswith("\t"):
                index, interface = int(words[0]), words[1]
            else:
                group = _socket.inet_ntop(_socket.AF_INET, int(words[0], 16).to_bytes(4, "little"))
                found.append((interface, index, group))
    with contextlib.suppress(OSError), open(f"/proc/{pid}/net/igmp6") as lines:
        for line in lines:
            words = line.split()
            found.append(
                (words[1], int(words[0]), _socket.inet_ntop(_socket.AF_INET6, bytes.fromhex(words[2])))
            )
    return found


def join(fd: int, group: Group) -> None:
    """Join a group as the other socket had, on the interface of that name. Raises OSError."""
    interface, address, mode, sources = group
    family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    index = _index(fd, interface)
    head = struct.pack("I4x", index) + _storage(family, address)
    if mode == _INCLUDE:
        for source in sources:
            _set(fd, family, _MCAST_JOIN_SOURCE_GROUP, head + _storage(family, source))
        return
    _set(fd, family, _MCAST_JOIN_GROUP, head)
    for source in sources:
        _set(fd, family, _MCAST_BLOCK_SOURCE, head + _storage(family, source))


def multicast_interface(fd: int, of: Kind) -> str:
    """The interface that it sends multicasts by, where it has one set by address (IPv4) or number (IPv6); "" else."""
    if of[0] not in _INET or of[1] == _socket.SOCK_STREAM:
        return ""
    if of[0] == _socket.AF_INET6:
        index = _get(fd, _socket.IPPROTO_IPV6, IPV6_MULTICAST_IF)
        return next((name for name, number in _interfaces(fd) if number == index), "") if index else ""
    address = _get(fd, _socket.IPPROTO_IP, IP_MULTICAST_IF)
    packed = struct.pack("i", address or 0)
    return (
        next((name for name, _ in _interfaces(fd) if _own_address(fd, name) == packed), "") if address else ""
    )


def set_multicast_interface(fd: int, of: Kind, interface: str) -> None:
    """By its name, with the address that it has now. Raises OSError."""
    index = _index(fd, interface)
    if of[0] == _socket.AF_INET6:
        level, number, data = _socket.IPPROTO_IPV6, IPV6_MULTICAST_IF, struct.pack("i", index)
    else:
        level, number = _socket.IPPROTO_IP, IP_MULTICAST_IF
        data = struct.pack("4x4si", _own_address(fd, interface), index)  # struct ip_mreqn
    if _libc.setsockopt(fd, level, number, data, len(data)):
        error = ctypes.get_errno()
        raise OSError(error, f"multicasts can't be sent by {interface}: {os.strerror(error)}")


def _interfaces(fd: int) -> list[tuple[str, int]]:
    """Names and numbers of those with an IPv4 address, in the socket's network namespace."""
    buffer = ctypes.create_string_buffer(40 * 64)
    request = struct.pack("i4xP", len(buffer), ctypes.addressof(buffer))
    length = struct.unpack_from("i", fcntl.ioctl(fd, SIOCGIFCONF, request))[0]
    names = [buffer.raw[at : at + 16].partition(b"\0")[0].decode() for at in range(0, length, 40)]
    return [(name, _index(fd, name)) for name in dict.fromkeys(names)]


def _own_address(fd: int, interface: str) -> bytes:
    try:
        return fcntl.ioctl(fd, SIOCGIFADDR, struct.pack("16s24x", interface.encode()))[20:24]
    except OSError:
        return bytes(4)


def _known(of: Kind) -> list[tuple[int, int, str]]:
    family, of_type, protocol = of
    levels = [(_socket.SOL_SOCKET, _SOCKET)]
    if family in _INET:
        levels.append((_socket.IPPROTO_IP, _IP))
    if family == _socket.AF_INET6:
        levels.append((_socket.IPPROTO_IPV6, _IPV6))
    if family in _INET and protocol == _socket.IPPROTO_TCP:
        levels.append((_socket.IPPROTO_TCP, _TCP))
    if family in _INET and protocol in (_socket.IPPROTO_UDP, _socket.IPPROTO_UDPLITE):
        levels.append((_socket.IPPROTO_UDP, _UDP))
    found = [(level, number, name) for level, table in levels for number, name in table.items()]
    if of_type == _socket.SOCK_STREAM:  # what one says of multicasts is an echo of its first packet
        return [one for one in found if "MULTICAST" not in one[2]]
    return found


def _get(fd: int, level: int, number: int) -> int | None:
    value, length = ctypes.c_int(0), ctypes.c_uint(4)
    if _libc.getsockopt(fd, level, number, ctypes.byref(value), ctypes.byref(length)):
        return None
    # One byte comes back where it was requested with four and the kernel keeps a byte.
    return value.value & 0xFF if length.value == 1 else value.value


def _text(fd: int, level: int, number: int) -> str:
    buffer, length = ctypes.create_string_buffer(64), ctypes.c_uint(64)
    if _libc.getsockopt(fd, level, number, buffer, ctypes.byref(length)):
        return ""
    return buffer.value.decode("ascii", "replace")


def _linger(fd: int) -> tuple[int, int]:
    buffer, length = ctypes.create_string_buffer(8), ctypes.c_uint(8)
    if _libc.getsockopt(fd, _socket.SOL_SOCKET, _socket.SO_LINGER, buffer, ctypes.byref(length)):
        return 0, 0
    on, seconds = struct.unpack("ii", buffer.raw)
    return on, seconds


def _filter(fd: int, family: int, index: int, group: str) -> tuple[int, list[str]] | None:
    """Mode and sources where the socket is a member (struct group_filter of linux/in.h)."""
    size = 16 + _ADDRESS * (1 + _SOURCES)
    buffer = ctypes.create_string_buffer(size)
    buffer.raw = (struct.pack("I4x", index) + _storage(family, group) + struct.pack("II", 0, _SOURCES)).ljust(
        size, b"\0"
    )
    length = ctypes.c_uint(size)
    if _libc.getsockopt(fd, _level(family), _MCAST_MSFILTER, buffer, ctypes.byref(length)):
        return None
    mode, count = struct.unpack_from("II", buffer.raw, 8 + _ADDRESS)
    at = 16 + _ADDRESS
    sources = [_address(family, buffer.raw[at + n * _ADDRESS :]) for n in range(min(count, _SOURCES))]
    return mode, sources


def _index(fd: int, interface: str) -> int:
    request = fcntl.ioctl(fd, SIOCGIFINDEX, struct.pack("16s24x", interface.encode()))
    return int(struct.unpack_from("i", request, 16)[0])


def _set(fd: int, family: int, number: int, data: bytes) -> None:
    if _libc.setsockopt(fd, _level(family), number, data, len(data)):
        error = ctypes.get_errno()
        if error != errno.EADDRINUSE:  # joined already
            raise OSError(error, f"a multicast group can't be joined: {os.strerror(error)}")


def _level(family: int) -> int:
    return _socket.IPPROTO_IPV6 if family == _socket.AF_INET6 else _socket.IPPROTO_IP


def _storage(family: int, address: str) -> bytes:
    packed = _socket.inet_pton(family, address)
    head = struct.pack("=HH", family, 0) + (b"" if family == _socket.AF_INET else bytes(4))
    return (head + packed).ljust(_ADDRESS, b"\0")


def _address(family: int, data: bytes) -> str:
    return _socket.inet_ntop(family, data[4:8] if family == _socket.AF_INET else data[8:24])
