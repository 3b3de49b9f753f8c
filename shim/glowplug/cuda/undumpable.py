"""Kernel objects of a container's processes that no CRIU can dump, reported before anything is touched."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from glowplug.host import proc


@dataclass(frozen=True, slots=True)
class Undumpable:
    """A process (the host's PID, its name), what it holds, and why that stops a capture."""

    pid: int
    comm: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.comm}) holds {self.what}: {self.why}"


# Beginning of what /proc/PID/fd or maps shows → why.
_NEVER = (
    (
        "anon_inode:[io_uring]",
        "CRIU can't dump io_uring; keep glowplug.dev/io-uring off, or UV_USE_IO_URING=0",
    ),
    ("anon_inode:[perf_event]", "CRIU can't dump perf events; capture without a profiler"),
    ("anon_inode:[userfaultfd]", "CRIU can't dump userfaultfd"),
    ("anon_inode:bpf-", "CRIU can't dump BPF objects"),
    ("anon_inode:kvm-", "CRIU can't dump virtual machines"),
    (
        "/dev/infiniband/",
        "RDMA state is in the adapter; set NCCL_IB_DISABLE=1 or close it before a capture",
    ),
    ("/dev/dri/", "CRIU can't dump graphics devices of NVIDIA; run without a display driver"),
    ("/dev/gdrdrv", "the driver's checkpoint leaves GPUDirect mappings in place"),
    ("/dev/nvidia-modeset", "the driver's checkpoint leaves display contexts in place"),
    ("/dev/fuse", "CRIU can't dump a FUSE server"),
    ("/dev/vfio/", "CRIU can't dump devices passed through"),
)
_AFTER = (
    (
        "/dev/nvidia",
        "still open after the CUDA checkpoint: opened by other means than CUDA (NVML, Vulkan, OpenGL)",
    ),
)
_NODE = "/dev/nvidia"
_OTHER_MEANS = (
    "the process has no CUDA state that the driver could take away: it opened that by other means (NVML, Vulkan, "
    "OpenGL), or is a fork of one with CUDA; have it close that (nvmlShutdown), or not run, before a capture"
)
_COMPILE_WORKER = (
    "a worker of torch.compile inherited it from a process with CUDA (pytorch/pytorch#134084); set "
    "TORCHINDUCTOR_COMPILE_THREADS=1 for the container, so that there is none"
)
_FORK = (
    "the process is a fork of process {holder}, which holds CUDA, and inherited it. Workers of torch.compile are such "
    "forks (pytorch/pytorch#134084): TORCHINDUCTOR_COMPILE_THREADS=1 for the container does without them; for others, "
    "start them by spawn, or before CUDA is first used"
)


def before(pids: Iterable[int]) -> list[Undumpable]:
    """What would stop a capture whatever the driver does."""
    return [found for pid in pids for found in _of(pid, _NEVER)]


def after(pids: Iterable[int]) -> list[Undumpable]:
    """What the CUDA checkpoint has left behind that CRIU can't dump."""
    return [found for pid in pids for found in _of(pid, _AFTER)]


def beside(pids: Iterable[int], said: Mapping[int, str], holders: Collection[int] = ()) -> list[Undumpable]:
    """The same of processes that use no CUDA, which no CUDA checkpoint changes: known before it.

    said: what the driver said of some of them, by process, when it was queried for their CUDA. holders: those that do
    use CUDA.
    """
    found = []
    for pid in pids:
        nodes = sorted(what for what in objects(pid) if what.startswith(_NODE))
        why = _beside(pid, holders) if nodes else ""
        found += [Undumpable(pid, proc.name(pid), what, why) for what in nodes]
    return [
        replace(one, why=f"{one.why}; the driver says: {said[one.pid]}") if one.pid in said else one
        for one in found
    ]


def _beside(pid: int, holders: Collection[int]) -> str:
    if "compile_worker" in " ".join(proc.command_line(pid)):
        return _COMPILE_WORKER
    above = proc.parent(pid)
    while above > 1:
        if above in holders:
            return _FORK.format(holder=above)
        above = proc.parent(above)
    return _OTHER_MEANS


def objects(pid: int) -> set[str]:
    """What a process has open or mapped, as /proc/PID/fd and maps show it."""
    return {*_descriptors(pid), *_mappings(pid)}


def _of(pid: int, table: tuple[tuple[str, str], ...]) -> list[Undumpable]:
    found: dict[str, str] = {}
    for what in objects(pid):
        for beginning, why in table:
            if what.startswith(beginning):
                found[what] = why
    return [Undumpable(pid, proc.name(pid), what, why) for what, why in sorted(found.items())]


def _descriptors(pid: int) -> list[str]:
    targets = []
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                targets.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
            except FileNotFoundError:  # closed meanwhile
                continue
    except (FileNotFoundError, ProcessLookupError):
        return []
    return targets


def _mappings(pid: int) -> set[str]:
    try:
        with open(f"/proc/{pid}/maps", errors="surrogateescape") as maps:
            columns = [line.split(None, 5) for line in maps]
    except (FileNotFoundError, ProcessLookupError):
        return set()
    return {found[5].strip() for found in columns if len(found) == 6}
