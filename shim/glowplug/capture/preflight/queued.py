"""What lies in sockets' queues at a moment, and no dump takes along: corked datagrams, words of the kernel beside data,
Unix connections that were not accepted yet. All are over soon."""

import array
import fcntl
import os
import socket
import termios
from collections.abc import Iterator

from glowplug.capture.preflight import unix_peers
from glowplug.capture.preflight.tree import Refusal, Tree, shown
from glowplug.errors import HostError
from glowplug.host import descriptors

UDP_CORK = 1
SIOCOUTQ = termios.TIOCOUTQ
_INET = (socket.AF_INET, socket.AF_INET6)
_BESIDE_DATA = {
    socket.SO_PASSCRED: "SO_PASSCRED",
    getattr(socket, "SO_PASSSEC", 34): "SO_PASSSEC",
    29: "SO_TIMESTAMP",
    35: "SO_TIMESTAMPNS",
    37: "SO_TIMESTAMPING",
    63: "SO_TIMESTAMP",
    64: "SO_TIMESTAMPNS",
    65: "SO_TIMESTAMPING",
    76: "SO_PASSPIDFD",
}
"""Options of Unix sockets by which the kernel adds a control message to what is received."""


def datagrams(tree: Tree) -> Iterator[Refusal]:
    """A UDP socket in the middle of one (UDP_CORK), and a Unix socket whose data has control messages beside it."""
    for one in tree.sockets:
        try:
            with descriptors.borrowed(one.pid, one.number) as fd, socket.socket(fileno=os.dup(fd)) as copy:
                refusal = _judged(one, copy)
        except OSError:
            continue
        if refusal is not None:
            yield refusal


def _judged(one: descriptors.Descriptor, copy: socket.socket) -> Refusal | None:
    if copy.family in _INET and copy.type == socket.SOCK_DGRAM and copy.proto == socket.IPPROTO_UDP:
        if copy.getsockopt(socket.IPPROTO_UDP, UDP_CORK):
            return Refusal(
                "corked-datagram",
                f"{shown(one.pid)} is in the middle of a datagram (descriptor {one.number}, UDP_CORK): try again when "
                "it was sent",
            )
    elif copy.family == socket.AF_UNIX and _count(copy, termios.FIONREAD):
        names = (name for option, name in _BESIDE_DATA.items() if _is_on(copy, option))
        if name := next(names, ""):
            return Refusal(
                "unread-control-message",
                f"{shown(one.pid)} has not read what the kernel says beside the data of its Unix socket (descriptor "
                f"{one.number}, {name}): try again when it has",
            )
    return None


def unaccepted(tree: Tree) -> Iterator[Refusal]:
    """A Unix connection whose client has written or gone before the listener accepted it."""
    own = {one.inode: one for one in tree.sockets}
    try:
        ends = unix_peers.by_inode(f"/proc/{tree.pids[0]}/ns/net") if own else {}
    except (OSError, HostError):
        return  # a kernel without unix_diag, which CRIU can do nothing on
    for inode, listener in own.items():
        for client in ends[inode].waiting if inode in ends else ():
            if client and not _has_written(own.get(client)):
                continue
            yield Refusal(
                "unaccepted-connection",
                f"{shown(listener.pid)} has not accepted a connection to its Unix socket (descriptor "
                f"{listener.number}) whose client has {'written to it' if client else 'closed it'}: try again when it "
                "has",
            )


def _has_written(client: descriptors.Descriptor | None) -> bool:
    if client is None:
        return False  # outside of the container: unix_peers.py
    try:
        with (
            descriptors.borrowed(client.pid, client.number) as fd,
            socket.socket(fileno=os.dup(fd)) as copy,
        ):
            return bool(_count(copy, SIOCOUTQ))
    except OSError:
        return False


def _is_on(copy: socket.socket, option: int) -> bool:
    try:
        return bool(copy.getsockopt(socket.SOL_SOCKET, option))
    except OSError:
        return False  # an older kernel


def _count(copy: socket.socket, request: int) -> int:
    """Bytes in a queue. Raises OSError."""
    number = array.array("i", [0])
    fcntl.ioctl(copy.fileno(), request, number)
    return number[0]
