"""Unix sockets whose other end is outside of the container: in a sidecar, on the node, in a process that was exec'd.

CRIU can't dump half of a connection, and there is no end of file to be put in the other half's place. Who is
connected to whom, the kernel says over netlink (sock_diag(7)), in the pod's network namespace.
"""

import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from glowplug.capture.preflight.tree import Refusal, Tree, shown
from glowplug.errors import HostError
from glowplug.host import descriptors
from glowplug.podnet import netlink, sock_diag

_ALL_STATES = 0xFFFFFFFF
_SHOW_NAME, _SHOW_PEER, _SHOW_ICONS = 1, 4, 8
_NAME, _PEER, _ICONS, _SHUTDOWN = 0, 2, 3, 6
_ESTABLISHED, _SHUT_BOTH = 1, 3
_SHOW = _SHOW_NAME | _SHOW_PEER | _SHOW_ICONS
_REQUEST = struct.Struct("=BBHIIIII")
_ANSWER = struct.Struct("=BBBBIII")


class _End(NamedTuple):
    """`waiting`: of a listener, the sockets that it has not accepted yet. `is_half`: connected to nobody any more, or
    to one who has not accepted it, and not shut down."""

    peer: int = 0
    name: str = ""
    waiting: tuple[int, ...] = ()
    is_half: bool = False


def outside(tree: Tree) -> Iterator[Refusal]:
    """One for each connection that leaves the container, with both ends."""
    own = {one.inode: one for one in tree.sockets}
    if not own:
        return
    try:
        ends = by_inode(f"/proc/{tree.pids[0]}/ns/net")
    except (OSError, HostError):
        return  # a kernel without unix_diag, which CRIU can do nothing on
    waiting = {inode for number, end in ends.items() if number in own for inode in end.waiting}
    for inode, holder in own.items():
        end = ends.get(inode, _End())
        if end.peer and end.peer not in own:
            name = ends.get(end.peer, _End()).name or end.name
            other = f"{_holder(end.peer)}, which is outside of the container"
        elif end.is_half and inode not in waiting:
            name, other = end.name, "a listener outside of the container that has not accepted it"
        else:
            continue
        yield Refusal(
            "unix-peer",
            f"{shown(holder.pid)} is connected by a Unix socket (descriptor {holder.number}"
            f"{f', {name}' if name else ''}) to {other}: close the connection before a capture",
        )


def _holder(inode: int) -> str:
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    found = next((one.pid for one in descriptors.of(pids) if one.inode == inode), None)
    return shown(found) if found is not None else "a process that is not to be found"


def by_inode(namespace: str) -> dict[int, _End]:
    """All Unix sockets of a network namespace by inode. Raises OSError, HostError."""
    request = _REQUEST.pack(socket.AF_UNIX, 0, 0, _ALL_STATES, 0, _SHOW, 0, 0)
    return dict(_parsed(message) for message in sock_diag.dump(namespace, request))


def _parsed(message: bytes) -> tuple[int, _End]:
    _, kind, state, _, inode, *_ = _ANSWER.unpack_from(message)
    values = netlink.attributes(message, _ANSWER.size)
    peer = int.from_bytes(values.get(_PEER, b""), "little")
    waiting = values.get(_ICONS, b"")
    is_open = values.get(_SHUTDOWN, b"\0")[0] != _SHUT_BOTH
    return inode, _End(
        peer=peer,
        name=os.fsdecode(values.get(_NAME, b"").rstrip(b"\0")).replace("\0", "@"),
        waiting=struct.unpack(f"={len(waiting) // 4}I", waiting),
        is_half=kind != socket.SOCK_DGRAM and state == _ESTABLISHED and not peer and is_open,
    )
