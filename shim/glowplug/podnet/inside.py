"""TCP connections inside a pod's network namespace, made by a process that is outside of it.

A socket belongs to the namespace of the thread that made it (network_namespaces(7)) and stays there. So a
thread of its own moves into the pod's namespace, makes the socket, and ends; the caller stays outside.
"""

import ctypes
import os
import socket
import threading
import time
from collections.abc import Iterable

from glowplug.errors import HostError

LOOPBACK = ("127.0.0.1", "::1")

_CLONE_NEWNET = 0x40000000  # uapi/linux/sched.h
_OWN = "/proc/self/ns/net"


def connect(namespace: str, addresses: Iterable[str], port: int, until: float) -> socket.socket:
    """A connection to the first of the addresses where something listens, in the network namespace file.

    `until`: in time.monotonic() seconds. Raises OSError where nothing does (the last address's), and HostError
    for the namespace that this process is in: what is queried of a pod is never queried of the node.
    """
    refused: OSError = ConnectionRefusedError(f"nothing listens on port {port}")
    for number, address in enumerate(addresses):
        if number and time.monotonic() >= until:
            break
        try:
            made = made_in(namespace, socket.AF_INET6 if ":" in address else socket.AF_INET)
        except OSError as error:
            refused = error  # a kernel without IPv6
            continue
        try:
            made.settimeout(max(0.001, until - time.monotonic()))
            made.connect((address, port))
            return made
        except OSError as error:
            made.close()
            refused = error
    raise refused


def made_in(namespace: str, family: int, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> socket.socket:
    """A socket of that network namespace file. Raises OSError, HostError for the one that this process is in."""
    made: list[socket.socket] = []
    failed: list[OSError | HostError] = []

    def make() -> None:
        try:
            _enter(namespace)
            made.append(socket.socket(family, kind, protocol))
        except (OSError, HostError) as error:
            failed.append(error)

    thread = threading.Thread(target=make, name="in a pod's network")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def _enter(namespace: str) -> None:
    """Move this thread. Raises HostError, OSError."""
    fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        there, here = os.fstat(fd), os.stat(_OWN)
        if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
            raise HostError("the pod has the host's network: a hostNetwork pod is not probed")
        if ctypes.CDLL(None, use_errno=True).setns(fd, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(fd)
