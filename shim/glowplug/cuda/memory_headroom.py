"""Whether node and container have headroom for the device memory that a CUDA checkpoint puts into host memory.

The driver copies device memory into anonymous memory of the process itself, so it counts against the
container's memory limit and every limit above it; past one, the kernel kills the workload that was to be
captured.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from glowplug.cuda import facts
from glowplug.errors import HostError, UsageError
from glowplug.host import memory

MARGIN = 256 << 20
"""Bytes that stay free beside the device memory: the driver's and CRIU's own."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that the memory will count against, and how much of it is left, in bytes."""

    name: str
    left: int


def device_memory(pids: Iterable[int], indexes: Iterable[int]) -> int:
    """Bytes of device memory that processes (the host's PIDs) use on GPUs (NVML's indexes).

    Where NVML has no figure of its own for one of them, all memory in use on that GPU: too much rather than
    too little. Raises HostError.
    """
    members, total = set(pids), 0
    for index in indexes:
        used_by = {pid: used for pid, used in facts.memory_by_process(index).items() if pid in members}
        known = [used for used in used_by.values() if used is not None]
        total += sum(known) if used_by and len(known) == len(used_by) else facts.memory_used(index)
    return total


def limits(memory_cgroup: str) -> list[Limit]:
    """What is left in the host's memory and in each limit of a cgroup directory and those above it.

    memory_cgroup: the directory of the memory controller (v1) or of the unified hierarchy (v2). File cache
    that is not in use counts as left. Raises HostError.
    """
    left = memory.available()
    if left is None:
        raise HostError("how much memory the node has left can't be known: /proc/meminfo does not say")
    found = [Limit("the node's available memory", left)]
    directory = memory_cgroup.rstrip("/")
    while limit := _limit(directory):
        if limit.left >= 0:
            found.append(limit)
        directory = os.path.dirname(directory)
    return found


def require(wanted: int, available: Iterable[Limit]) -> None:
    """Raises UsageError, with the numbers, when `wanted` bytes of device memory and a margin don't fit
    somewhere.
    """
    for limit in available:
        if wanted + MARGIN > limit.left:
            raise UsageError(
                f"this container can't be captured: a CUDA checkpoint puts {_mib(wanted)} of device memory "
                f"into host memory and needs {_mib(wanted + MARGIN)}; only {_mib(limit.left)} are left in "
                f"{limit.name}: raise the memory limit or free memory"
            )


_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def _limit(directory: str) -> Limit | None:
    """The limit of one cgroup; left is -1 where it sets none, None where there is no cgroup any more."""
    for maximum, current, cache in _FILES:
        text = _read(f"{directory}/{maximum}")
        if text is None:
            continue
        usage = int(_read(f"{directory}/{current}") or "0")
        if text == "max" or int(text) >= 1 << 62:
            return Limit(directory, -1)
        return Limit(f"the memory limit of {directory}", max(0, int(text) - usage + _stat(directory, cache)))
    return None


def _stat(directory: str, name: str) -> int:
    for line in (_read(f"{directory}/memory.stat") or "").splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _read(path: str) -> str | None:
    try:
        with open(path) as file:
            return file.read().strip()
    except FileNotFoundError:
        return None


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"
