"""Multicast groups: IPv6, of one source, by the interface that multicasts leave by."""

import socket
import struct


def _own():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("10.255.255.1", 9))
        return socket.inet_aton(probe.getsockname()[0])


def of_one_source():
    """IP_ADD_SOURCE_MEMBERSHIP: it hears its own host alone, which the kernel says of it."""
    group = socket.inet_aton("232.1.2.3")
    member = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    member.bind(("232.1.2.3", 9020))
    member.setsockopt(socket.IPPROTO_IP, 39, group + _own() + socket.inet_aton("10.9.9.9"))

    def check():
        request = struct.pack("I4x", socket.if_nametoindex("eth0")) + struct.pack("=HH4s120x", 2, 0, group)
        found = _filter(member, request)
        assert found == (1, ["10.9.9.9"]), found
        assert member.getsockname() == ("232.1.2.3", 9020), member.getsockname()

    return check


def _filter(member, request):
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(request + struct.pack("II", 0, 4), 144 + 4 * 128)
    size = ctypes.c_uint(len(buffer))
    if libc.getsockopt(member.fileno(), 0, 48, buffer, ctypes.byref(size)):
        return ctypes.get_errno()
    mode, count = struct.unpack_from("II", buffer.raw, 136)
    return mode, [socket.inet_ntoa(buffer.raw[148 + n * 128 : 152 + n * 128]) for n in range(count)]


def ipv6():
    group = socket.inet_pton(socket.AF_INET6, "ff02::1:9")
    index = socket.if_nametoindex("eth0")
    member = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    member.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + struct.pack("i", index))

    def check():
        assert member.fileno() >= 0
        with open("/proc/net/igmp6") as lines:
            joined = [line.split()[2] for line in lines]
        assert group.hex() in joined, joined

    return check


def interface():
    """IP_MULTICAST_IF by the pod's address, and a time to live."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _own())
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 5)

    def check():
        assert sender.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, 4) == _own()
        assert sender.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 5

    return check
