"""TCP sockets that want each segment signed with a key (TCP_MD5SIG, TCP_AO), which CRIU does not know.

They would come back without: a listener then talks to anybody. The kernel shows MD5 keys over netlink alone (to
CAP_NET_ADMIN), of TCP-AO by getsockopt(2).
"""

import ctypes
import socket
import struct
from collections.abc import Iterator

from glowplug.capture.preflight.tree import Refusal, Tree, shown
from glowplug.errors import HostError
from glowplug.host import descriptors
from glowplug.podnet import netlink, sock_diag

TCP_AO_INFO = 40
_AO_INFO_BYTES = 56  # struct tcp_ao_info_opt (linux/tcp.h)
# inet_diag_req_v2 and inet_diag_msg (linux/inet_diag.h): the parts that count, the rest is zeros
_REQUEST = struct.Struct("=BBBBI48x")
_MESSAGE_BYTES, _INODE = 72, struct.Struct("=68xI")
_INFO = 1 << 1  # INET_DIAG_INFO: without it the kernel leaves out the keys
_MD5SIG, _ALL_STATES = 18, 0xFFFFFFFF

_libc = ctypes.CDLL(None, use_errno=True)


def keys(tree: Tree) -> Iterator[Refusal]:
    """One for each socket with a key."""
    own = {one.inode: one for one in tree.sockets}
    if not own:
        return
    with_key = dict.fromkeys(_with_md5(f"/proc/{tree.pids[0]}/ns/net"), "TCP_MD5SIG")
    for inode, one in own.items():
        name = with_key.get(inode, "") or ("TCP_AO" if _has_ao(one) else "")
        if name:
            yield Refusal(
                "tcp-keys",
                f"{shown(one.pid)} has a TCP socket (descriptor {one.number}) whose segments are signed with a key "
                f"({name}), which would come back without: close it first",
            )


def _with_md5(namespace: str) -> set[int]:
    """Inodes; none where the kernel has no such netlink."""
    found = set()
    try:
        for family in (socket.AF_INET, socket.AF_INET6):
            request = _REQUEST.pack(family, socket.IPPROTO_TCP, _INFO, 0, _ALL_STATES)
            for message in sock_diag.dump(namespace, request):
                if netlink.attributes(message, _MESSAGE_BYTES).get(_MD5SIG):
                    found.add(_INODE.unpack_from(message)[0])
    except (OSError, HostError):
        return found
    return found


def _has_ao(one: descriptors.Descriptor) -> bool:
    try:
        with descriptors.borrowed(one.pid, one.number) as fd:
            value, length = ctypes.create_string_buffer(_AO_INFO_BYTES), ctypes.c_uint(_AO_INFO_BYTES)
            return not _libc.getsockopt(fd, socket.IPPROTO_TCP, TCP_AO_INFO, value, ctypes.byref(length))
    except OSError:
        return False
