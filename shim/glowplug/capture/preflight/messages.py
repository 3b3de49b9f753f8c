"""Messages and keys that lie where no dump finds them: message queues, unread netlink messages, session keyrings."""

import os
import re
import select
import socket
from collections.abc import Iterator

from glowplug.capture.preflight.tree import Refusal, Tree, shown
from glowplug.host import descriptors, proc

_MOUNTED = "dev/mqueue"
_KEYRING = re.compile(r"keyring\s+_ses\.(\w+): (\d+)$")


def queues(tree: Tree) -> Iterator[Refusal]:
    """CRIU dumps no queue (mq_overview(7)). They belong to the entire pod: a sidecar's are in the way, too."""
    directory = f"{tree.root}/{_MOUNTED}"
    try:
        names, device = sorted(os.listdir(directory)), os.stat(directory).st_dev
        is_mounted = device != os.stat(os.path.dirname(directory)).st_dev
    except OSError:
        return
    if not is_mounted:
        return
    for one in tree.descriptors:
        if one.target.startswith("/") and _device(one) == device:
            yield Refusal(
                "message-queue",
                f"{shown(one.pid)} holds the POSIX message queue {os.path.basename(one.target)} (descriptor "
                f"{one.number}), which can't be dumped: close and unlink it first",
            )
    if names:
        yield Refusal(
            "message-queue",
            f"the pod has the POSIX message queue {names[0]}, which can't be dumped, where {shown(tree.pids[0])} has "
            "/dev/mqueue mounted: unlink it first",
        )


def unread(tree: Tree) -> Iterator[Refusal]:
    """CRIU dumps no netlink socket that has a message to read."""
    for one in tree.sockets:
        try:
            with (
                descriptors.borrowed(one.pid, one.number) as fd,
                socket.socket(fileno=os.dup(fd)) as copy,
            ):
                is_unread = copy.family == socket.AF_NETLINK and bool(select.select([copy], [], [], 0)[0])
        except OSError:
            continue
        if is_unread:
            yield Refusal(
                "netlink-data",
                f"{shown(one.pid)} has not read a message of its netlink socket (descriptor {one.number}): "
                "try again when it has",
            )


def keys(tree: Tree) -> Iterator[Refusal]:
    """The container's own session keyring (host/keyring.py) begins empty, and a restored container has a new one."""
    try:
        places = " ".join(path for _, path in proc.cgroups(tree.pids[0]))
        with open("/proc/keys", errors="backslashreplace") as lines:
            found = [match for line in lines if (match := _KEYRING.search(line.rstrip()))]
    except OSError:
        return  # a kernel without keyrings
    for match in found:
        if match[1] in places:
            yield Refusal(
                "session-keys",
                f"{shown(tree.pids[0])} has {match[2]} keys in its session keyring, which nobody can copy: "
                "a restored container would have none",
            )


def _device(one: descriptors.Descriptor) -> int:
    try:
        return os.stat(f"/proc/{one.pid}/fd/{one.number}").st_dev
    except OSError:
        return -1
