"""Device memory that CUDA processes share with one another: drivers before 610 checkpoint such processes and then
can't restore them, so a capture would end them. Read from /proc before anything is touched.

Of CUDA IPC there is a sign: a file cuda.shm.… in /dev/shm. Of NCCL, which shares by other ways too, there is none;
but its ranks sit on different GPUs, and three variables keep it from sharing.
"""

from __future__ import annotations

from collections.abc import Mapping

from glowplug.cuda import processes
from glowplug.cuda.undumpable import Undumpable, objects
from glowplug.host import proc

IPC_DRIVER = 610
"""The first driver that restores processes that share (NVIDIA/cuda-checkpoint#56)."""
_IPC_FILE = "/dev/shm/cuda.shm."
_NCCL = "/libnccl.so"
_NCCL_ALONE = {"NCCL_P2P_DISABLE": "1", "NCCL_CUMEM_ENABLE": "0", "NCCL_CUMEM_HOST_ENABLE": "0"}


def by_ipc(pids: list[int]) -> list[Undumpable]:
    """CUDA processes (the host's PIDs) that share memory through CUDA IPC, under a driver that can't restore it."""
    return [
        Undumpable(
            pid,
            proc.name(pid),
            what,
            f"memory shared through CUDA IPC, which a driver before {IPC_DRIVER} can't restore",
        )
        for pid in pids
        if _is_old(pid)
        for what in objects(pid)
        if what.startswith(_IPC_FILE)
    ]


def by_nccl(devices: Mapping[int, set[int]], env: Mapping[str, str]) -> list[Undumpable]:
    """CUDA processes that may share through NCCL.

    devices: which GPUs each process (the host's PID) uses; one that uses none (vLLM's API server) shares none.
    env: the container's environment by its spec.
    """
    using = {pid: own for pid, own in devices.items() if own}
    everywhere: set[int] = set().union(*using.values())
    needed = " ".join(f"{name}={value}" for name, value in _NCCL_ALONE.items())
    return [
        Undumpable(
            pid,
            proc.name(pid),
            "NCCL, with processes on other GPUs beside it",
            f"a driver before {IPC_DRIVER} can't restore what they may share; set {needed} for the container",
        )
        for pid, own in using.items()
        if own != everywhere
        and _is_old(pid)
        and any(_NCCL in what for what in objects(pid))
        and not _has_sharing_disabled(pid, env)
    ]


def _is_old(pid: int) -> bool:
    major = (processes.library_version(pid) or "").partition(".")[0]
    return not major.isdigit() or int(major) < IPC_DRIVER


def _has_sharing_disabled(pid: int, env: Mapping[str, str]) -> bool:
    """By the spec, which is what the container is to be, or by what the process itself was started with.

    The spec goes first: setproctitle(3), which vLLM's workers call, writes over /proc/PID/environ.
    """
    if all(env.get(name) == value for name, value in _NCCL_ALONE.items()):
        return True
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            entries = set(file.read().split(b"\0"))
    except OSError:
        return False
    return all(f"{name}={value}".encode() in entries for name, value in _NCCL_ALONE.items())
