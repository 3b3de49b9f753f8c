"""A container that runs, as far as it is queried whether it is ready, and informed of a capture."""

import os
import select
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from glowplug.checkpoint.bundle import BundleFacts
from glowplug.containerd.client import Containerd
from glowplug.containerd.records import ContainerRecord
from glowplug.errors import HostError
from glowplug.podnet import addresses, inside

MOST_ADDRESSES = 32
"""Of a pod, that are tried; a container may give its pod as many as it likes."""


@dataclass(frozen=True, slots=True)
class Running:
    """`pid`: of its first process, on the host. `network`: its network namespace, a file. `log`: in CRI's format,
    or "" for none."""

    id: str
    pid: int
    network: str
    log: str


def look_up(containerd: Containerd, record: ContainerRecord, facts: BundleFacts) -> Running | None:
    """None where it does not run (any more). Raises ContainerdError."""
    task = containerd.task(record.id)
    if task is None or task.status not in ("running", "paused", "pausing"):
        return None
    log = record.cri.log_path if record.cri else ""
    return Running(record.id, task.pid, facts.namespaces.get("network", ""), log)


def has_ended(running: Running) -> bool:
    """A pidfd is readable once its process has ended (pidfd_open(2))."""
    try:
        process = os.pidfd_open(running.pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(process, select.POLLIN)
        return bool(poll.poll(0))
    finally:
        os.close(process)


def connect(running: Running, port: int, until: float) -> socket.socket:
    """To a port of its pod, over the pod's loopback or own address. Raises OSError, HostError."""
    if not running.network:
        raise HostError("the pod has the host's network: a hostNetwork pod is not probed")
    return inside.connect(running.network, _addresses(running.pid), port, until)


def _addresses(pid: int) -> Iterator[str]:
    """Looked up only where nothing listens on the loopback."""
    yield from inside.LOOPBACK
    yield from addresses.of_process(pid, MOST_ADDRESSES)
