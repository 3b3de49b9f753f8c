"""Sockets bound to addresses of the pod, to a group's, to one that the pod gave itself, and to nobody's."""

import fcntl
import socket
import struct

SIOCGIFADDR, SIOCSIFADDR = 0x8915, 0x8916
IP_FREEBIND, IP_TRANSPARENT = 15, 19


def _own(name="eth0"):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        found = fcntl.ioctl(one, SIOCGIFADDR, struct.pack("256s", name.encode()))
    return socket.inet_ntoa(found[20:24])


def _echoes(receiver, address):
    """Only in the pod that it was made in, or in one of the same address."""

    def check():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"hello", address())
        receiver.settimeout(30)
        assert receiver.recv(9) == b"hello"

    return check


def of_the_pod():
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind((_own(), 5001))
    return _echoes(one, lambda: (_own(), 5001))


def of_a_server_outside():
    """A client that sends measurements (statsd): CRIU connects its socket again, which takes a route."""
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.connect(("192.0.2.77", 8125))

    def check():
        assert one.getpeername() == ("192.0.2.77", 8125), one.getpeername()

    return check


def of_a_group():
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(("239.7.7.8", 5002))

    def check():
        assert one.getsockname() == ("239.7.7.8", 5002), one.getsockname()

    return check


def freely_bound():
    """As keepalived's: an address that may come one day (IP_FREEBIND)."""
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
    one.bind(("192.0.2.9", 5003))
    one.listen()
    return lambda: one


def transparent():
    """A proxy's (IP_TRANSPARENT)."""
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
    one.bind(("192.0.2.10", 5004))
    return lambda: one


def _give_itself(address):
    """A second address of eth0, as `ip address add` makes one (CAP_NET_ADMIN)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        where = struct.pack("16sH2s4s8x", b"eth0:1", socket.AF_INET, b"", socket.inet_aton(address))
        fcntl.ioctl(control, SIOCSIFADDR, where)


def own_address():
    _give_itself("10.250.9.9")
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.bind(("10.250.9.9", 5005))
    one.listen()
    return lambda: one


def connected_to_itself():
    """Both ends are inside, so that the connection would live on; the address is not there in another pod."""
    _give_itself("10.250.9.9")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("0.0.0.0", 5006))
    listener.listen()
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.connect(("10.250.9.9", 5006))
    accepted = listener.accept()[0]
    return lambda: (client, accepted)
