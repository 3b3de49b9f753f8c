"""TCP connections inside at a moment that no image holds rightly: one end has closed with data still to send, or nobody
has accepted it yet, or urgent data waits.

An end that no process holds is in no image at all; one that is shut down for writing comes back, but CRIU sends its
end before the other end may be there; urgent data would be in the stream like any other. All are over in a moment.
"""

import os
import select
import socket
from collections.abc import Iterator
from typing import NamedTuple

from glowplug.capture.preflight.tree import Refusal, Tree, shown
from glowplug.host import descriptors

_ESTABLISHED = "01"
_CLOSING = ("04", "09", "0B")  # FIN_WAIT1, LAST_ACK, CLOSING (net/tcp_states.h)


class _Row(NamedTuple):
    local: str
    remote: str
    state: str
    unsent: int
    inode: int


def connections(tree: Tree) -> Iterator[Refusal]:
    """By /proc/PID/net/tcp and tcp6, which show the entire pod."""
    if not tree.pids:
        return
    own = {one.inode: one for one in tree.sockets}
    rows = [row for name in ("tcp", "tcp6") for row in _rows(f"/proc/{tree.pids[0]}/net/{name}")]
    by_ends = {(row.local, row.remote): row for row in rows}
    for row in rows:
        other = by_ends.get((row.remote, row.local))
        if row.state == _ESTABLISHED and not row.inode and other is not None and other.inode in own:
            client = own[other.inode]
            yield Refusal(
                "unaccepted-connection",
                f"{shown(client.pid)} has a connection inside the pod (descriptor {client.number}) that its listener "
                "has not accepted yet: try again when it has",
            )
        if row.state not in _CLOSING or not row.unsent or other is None:
            continue
        holder = own.get(row.inode) or own.get(other.inode)
        if holder is not None and (row.inode in own or not row.inode):
            yield Refusal(
                "closing-connection",
                f"{shown(holder.pid)} has a connection inside the pod (descriptor {holder.number}) that was closed "
                f"with {row.unsent} bytes still to be read: try again when they are",
            )


def urgent(tree: Tree) -> Iterator[Refusal]:
    """Urgent data (MSG_OOB) that nobody has read."""
    for one in tree.sockets:
        try:
            with descriptors.borrowed(one.pid, one.number) as fd:
                poller = select.poll()
                poller.register(fd, select.POLLPRI)
                waits = any(event & select.POLLPRI for _, event in poller.poll(0)) and _may_have(fd)
        except OSError:
            continue
        if waits:
            yield Refusal(
                "urgent-data",
                f"{shown(one.pid)} has not read urgent data of its connection (descriptor {one.number}): try again "
                "when it has",
            )


def _may_have(fd: int) -> bool:
    """A stream of TCP, or of a Unix socket (Linux 5.15)."""
    with socket.socket(fileno=os.dup(fd)) as copy:
        families = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
        return copy.family in families and copy.type == socket.SOCK_STREAM


def _rows(path: str) -> list[_Row]:
    try:
        with open(path) as lines:
            next(lines)
            words = [line.split() for line in lines]
    except (OSError, StopIteration):
        return []
    return [_Row(w[1], w[2], w[3], int(w[4].partition(":")[0], 16), int(w[9])) for w in words if len(w) > 9]
