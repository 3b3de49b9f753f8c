"""The control groups of one container: where they are, who is in them, and emptying them.

Standard library only: the runtime uses it during a restore and its clean-up.
Source: cgroups(7), the kernel's cgroup-v2.rst (`cgroup.kill`) and freezer-subsystem.rst, OCI runtime spec
"Control groups" (cgroupsPath).
"""

import errno
import os
import time

from glowplug.errors import HostError
from glowplug.host import proc, process_life

KILL_DEADLINE_S = 10.0
POLL_S = 0.01


def mountpoints() -> list[str]:
    """Every mounted cgroup hierarchy of this mount namespace: one on v2, one per controller on v1."""
    found = []
    with open("/proc/self/mountinfo") as lines:
        for line in lines:
            left, _, right = line.partition(" - ")
            if right.split(" ", 1)[0] in ("cgroup", "cgroup2"):
                found.append(left.split(" ")[4])
    return found


def version() -> int:
    """2 where /sys/fs/cgroup is the unified hierarchy, else 1. Raises HostError where there is none."""
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return 2
    if mountpoints():
        return 1
    raise HostError("no cgroup hierarchy is mounted: mount one at /sys/fs/cgroup")


def directories(cgroups_path: str, systemd: bool) -> list[str]:
    """The existing directories of a container's cgroup in every hierarchy; see `relative`."""
    below = relative(cgroups_path, systemd)
    return [path for mount in mountpoints() if os.path.isdir(path := f"{mount}/{below}")]


def memory_groups(cgroups_path: str, systemd: bool) -> list[str]:
    """Where a process is charged for memory as a container of this path is: on v1 its parent, the pod's, in the memory
    hierarchy; on v2 its own. They need not be there. Empty where the path names none."""
    try:
        below = relative(cgroups_path, systemd)
    except HostError:
        return []
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return [f"/sys/fs/cgroup/{below}"]
    parent = os.path.dirname(below)
    return [f"{mount}/{parent}" for mount in mountpoints() if parent and _counts_memory(mount)]


def _counts_memory(mount: str) -> bool:
    return os.path.exists(f"{mount}/memory.usage_in_bytes")


def relative(cgroups_path: str, systemd: bool) -> str:
    """A container's cgroup as a path below a hierarchy's root.

    `cgroups_path` is `linux.cgroupsPath` of its spec: a path, or with systemd `slice:prefix:name`.
    Raises HostError.
    """
    found = (_scope(cgroups_path) if systemd and ":" in cgroups_path else cgroups_path).lstrip("/")
    if not found or ".." in found.split("/"):
        raise HostError(f"expected linux.cgroupsPath to name a cgroup, got {cgroups_path!r}")
    return found


def _scope(cgroups_path: str) -> str:
    """systemd's `slice:prefix:name` as the path that systemd makes of it (systemd.slice(5))."""
    slice_name, prefix, name = cgroups_path.split(":", 2)
    parts = (slice_name or "system.slice").removesuffix(".slice").strip("-").split("-")
    parents = ["-".join(parts[: n + 1]) + ".slice" for n in range(len(parts))] if parts != [""] else []
    return "/".join([*parents, f"{prefix}-{name}.scope" if prefix else f"{name}.scope"])


def pids(directories: list[str]) -> set[int]:
    """The processes in these cgroups and the cgroups below them."""
    found: set[int] = set()
    for directory in directories:
        for below, _, _ in os.walk(directory):
            try:
                with open(f"{below}/cgroup.procs") as procs:
                    found.update(int(line) for line in procs)
            except OSError:
                continue  # removed between the walk and the read: nobody is in it
    return found - {0}


def kill(directories: list[str], deadline_s: float = KILL_DEADLINE_S) -> None:
    """SIGKILL whatever is in these cgroups until they are empty.

    Raises HostError, naming the processes, when some are left at the deadline: stuck in the kernel.
    """
    until = time.monotonic() + deadline_s
    for directory in directories:
        _kill_at_once(directory)
    while left := pids(directories):
        for pid in left:
            try:
                os.kill(pid, process_life.SIGKILL)
            except ProcessLookupError:
                continue
        for directory in directories:
            _thaw(directory)
        if time.monotonic() > until:
            raise HostError(
                f"{_describe(left)} still alive {deadline_s:g} s after SIGKILL: "
                "they are stuck in the kernel; look at /proc/PID/stack, the node may need a reboot"
            )
        time.sleep(POLL_S)


def _kill_at_once(directory: str) -> None:
    """All of a group and the groups below it, also when they fork meanwhile (`cgroup.kill`; v2 of Linux 5.14)."""
    path = f"{directory}/cgroup.kill"
    if os.path.exists(path):
        try:
            with open(path, "w") as file:
                file.write("1")
        except OSError:
            return  # removed meanwhile, or a threaded group: one by one then


def _thaw(directory: str) -> None:
    """A frozen process does not die on v1: write THAWED; on v2 killing thaws, but 0 does no harm."""
    for name, value in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
        if os.path.exists(f"{directory}/{name}"):
            try:
                with open(f"{directory}/{name}", "w") as file:
                    file.write(value)
            except OSError:
                continue  # removed meanwhile


def _describe(pids: set[int]) -> str:
    return ", ".join(f"{pid} ({proc.name(pid)})" for pid in sorted(pids)[:8])


def remove(directories: list[str], deadline_s: float = KILL_DEADLINE_S) -> None:
    """Remove these empty cgroups, the deepest first. Raises OSError where one can't be removed by the deadline.

    v2 lists no process whose first thread has ended, and is busy until the last has, which frees large memory or a
    driver's state.
    """
    until = time.monotonic() + deadline_s
    for directory in directories:
        for below, _, _ in os.walk(directory, topdown=False):
            _remove(below, until)


def _remove(directory: str, until: float) -> None:
    while True:
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > until:
                raise
            time.sleep(POLL_S)
        else:
            return
