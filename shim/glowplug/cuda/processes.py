"""Which processes of a container use CUDA, read from /proc. Nothing here asks the driver.

An open /dev/nvidia* is no sign: a checkpointed process has none, and a monitor without CUDA has some.
"""

from __future__ import annotations

from glowplug.errors import CudaError
from glowplug.host import proc

_LIBRARY = b"/libcuda.so."


def mapping_libcuda(pids: list[int]) -> list[int]:
    """Those of `pids` that have libcuda mapped; only they can use CUDA. A process that is gone has not."""
    return [pid for pid in pids if library_version(pid) is not None]


def library_version(pid: int) -> str | None:
    """What follows `libcuda.so.` in the name of the library that a process has mapped (`580.159.04`), or
    None.

    Not line by line: an engine has thousands, and threads that write its memory would wait for each.
    """
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            maps = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    place = maps.find(_LIBRARY)
    return maps[place + len(_LIBRARY) :].split(maxsplit=1)[0].decode(errors="replace") if place >= 0 else None


def namespace_pid(pid: int) -> int:
    """The process's PID in its innermost PID namespace: the one that stays the same over a restore.

    Raises CudaError when there is no such process.
    """
    number = proc.number_inside(pid)
    if not number:
        raise CudaError(f"process {pid} has ended")
    return number


def by_namespace_pid(pids: list[int], wanted: list[int]) -> list[int]:
    """The host's PIDs among `pids` of the processes that are `wanted` in their own PID namespace, in that
    order.

    Raises CudaError naming those that are missing.
    """
    known = {namespace_pid(pid): pid for pid in pids}
    missing = [pid for pid in wanted if pid not in known]
    if missing:
        raise CudaError(
            f"of the restored CUDA processes {wanted} (PIDs in the container), {missing} are missing"
        )
    return [known[pid] for pid in wanted]
