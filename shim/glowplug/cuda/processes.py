"""Which processes of a container hold CUDA, read from /proc. Nothing here asks the driver.

An open /dev/nvidia* is no sign: a checkpointed process has none, and a monitor without CUDA has some.
"""

from __future__ import annotations

import os

from glowplug.errors import CudaError

_LIBRARY = "/libcuda.so."


def mapping_libcuda(pids: list[int]) -> list[int]:
    """Those of `pids` that have libcuda mapped; only they can hold CUDA. A process that is gone has not."""
    return [pid for pid in pids if library_version(pid) is not None]


def library_version(pid: int) -> str | None:
    """What follows `libcuda.so.` in the name of the library that a process has mapped (`580.159.04`), or
    None.
    """
    try:
        with open(f"/proc/{pid}/maps", errors="surrogateescape") as maps:
            for line in maps:
                place = line.find(_LIBRARY)
                if place >= 0:
                    return line[place + len(_LIBRARY) :].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None


def namespace_pid(pid: int) -> int:
    """The process's PID in its innermost PID namespace: the one that stays the same over a restore.

    Raises CudaError when there is no such process.
    """
    try:
        with open(f"/proc/{pid}/status", errors="surrogateescape") as status:
            for line in status:
                if line.startswith("NSpid:"):
                    return int(line.split()[-1])
    except (FileNotFoundError, ProcessLookupError) as error:
        raise CudaError(f"wanted process {pid} alive, found none") from error
    raise CudaError(f"wanted NSpid in /proc/{pid}/status, found none: the kernel has no PID namespaces")


def by_namespace_pid(pids: list[int], wanted: list[int]) -> list[int]:
    """The host's PIDs among `pids` of the processes that are `wanted` in their own PID namespace, in that
    order.

    Raises CudaError naming those that are missing.
    """
    known = {namespace_pid(pid): pid for pid in pids}
    missing = [pid for pid in wanted if pid not in known]
    if missing:
        raise CudaError(
            f"wanted the restored CUDA processes {wanted} of the container, found none as {missing}"
        )
    return [known[pid] for pid in wanted]


def ended(pid: int) -> bool:
    """Whether a process is gone, or a zombie that nobody has taken in."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return True


def name(pid: int) -> str:
    """The process's comm, or `?` when it is gone."""
    try:
        with open(f"/proc/{pid}/comm", errors="replace") as comm:
            return comm.read().strip()
    except (FileNotFoundError, ProcessLookupError):
        return "?"


def command_line(pid: int) -> str:
    """The process's arguments with spaces between, "" when it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", errors="replace") as line:
            return line.read().replace("\0", " ").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def parent(pid: int) -> int:
    """The PID of the process's parent, 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def threads(pid: int) -> list[int]:
    """The TIDs of a process, none when it is gone."""
    try:
        return sorted(int(tid) for tid in os.listdir(f"/proc/{pid}/task"))
    except (FileNotFoundError, ProcessLookupError):
        return []
