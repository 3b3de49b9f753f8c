"""The limits of a pod's own cgroup, which apply to each of its containers and are in none of their specs.

They are the pod-level resources of its spec (Kubernetes 1.34), or the sum of what its containers may use. Sources:
cgroup-v2.rst (`memory.max`, `cpu.max`), cgroup-v1/memory.rst, sched-bwc.rst.
"""

import os
from functools import lru_cache

from glowplug.errors import HostError
from glowplug.host import cgroup

NONE = -1
_V1_NONE = 1 << 62
"""Version 1 has a number for no limit: the largest one, in full pages."""


def read(cgroups_path: str) -> tuple[int, int]:
    """Memory in bytes and CPUs in thousandths, of the cgroup around that of a container; NONE for no limit.

    `cgroups_path`: the container's `linux.cgroupsPath`; it need not be there yet.
    """
    try:
        below = os.path.dirname(cgroup.relative(cgroups_path, systemd=":" in cgroups_path))
    except HostError:
        return NONE, NONE
    directories = [f"{mount}/{below}" for mount in _mountpoints()] if below else []
    memory = _first(directories, "memory.max", "memory.limit_in_bytes")
    if not memory or not memory[0].isdecimal() or int(memory[0]) >= _V1_NONE:
        memory = [str(NONE)]
    quota = _first(directories, "cpu.max") or [
        *_first(directories, "cpu.cfs_quota_us"),
        *_first(directories, "cpu.cfs_period_us"),
    ]
    if len(quota) < 2 or not quota[0].isdecimal() or int(quota[1]) <= 0:
        return int(memory[0]), NONE
    return int(memory[0]), int(quota[0]) * 1000 // int(quota[1])


@lru_cache(maxsize=1)
def _mountpoints() -> tuple[str, ...]:
    """They stay as long as the node runs, and mountinfo of a node has thousands of lines."""
    return tuple(cgroup.mountpoints())


def _first(directories: list[str], *files: str) -> list[str]:
    """The words of the first of these files that is there."""
    for directory in directories:
        for file in files:
            try:
                with open(f"{directory}/{file}") as opened:
                    return opened.read().split()
            except OSError:
                continue
    return []
