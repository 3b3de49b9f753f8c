"""The table of checks, in the order of the way of a restore, and going through it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from glowplug.config import Config
from glowplug.node.doctor import (
    agent,
    cdi,
    containerd,
    criu,
    disk,
    gpu,
    kernel,
    kernel_options,
    memory,
    permissions,
    runc,
)
from glowplug.node.doctor.finding import Finding
from glowplug.node.doctor.probes import Probes

SAID = 300
"""Characters of an error that a finding shows."""


@dataclass(frozen=True, slots=True)
class Check:
    """`must`: without it nothing is restored, so a check that can't decide is as good as one that failed."""

    name: str
    look: Callable[[Probes], Finding]
    must: bool = True


@dataclass(frozen=True, slots=True)
class Checked:
    """A check and what it found."""

    name: str
    finding: Finding


CHECKS = (
    Check("kernel", kernel.version),
    Check("page size", kernel.page_size),
    Check("kernel options", kernel_options.options),
    Check("capabilities", kernel.capabilities),
    Check("ptrace", kernel.ptrace),
    Check("cgroups", kernel.cgroups),
    Check("huge pages", memory.huge_pages, must=False),
    Check("CRIU", criu.version),
    Check("CRIU on this kernel", criu.check),
    Check("CRIU's features", criu.features, must=False),
    Check("runc", runc.version),
    Check("containerd", containerd.version),
    Check("CRI", containerd.ready),
    Check("handler", containerd.handler),
    Check("handler: annotations", containerd.annotations, must=False),
    Check("handler: runc's state", containerd.runc_root),
    Check("handler: snapshotter", containerd.snapshotter),
    Check("handler: cgroup driver", containerd.cgroup_driver),
    Check("runtime: runc", runc.through_runtime),
    Check("runtime: Python", runc.python),
    Check("runtime: modules", runc.own_modules),
    Check("agent", agent.answers),
    Check("agent: seccomp", agent.seccomp, must=False),
    Check("agent: privileges", agent.privileges, must=False),
    Check("run directory", permissions.run_dir),
    Check("cache", permissions.cache),
    Check("cache: space", disk.space, must=False),
    Check("cache: speed", disk.speed, must=False),
    Check("cache: compiled", disk.compile_caches, must=False),
    Check("binaries", permissions.programs),
    Check("NVIDIA driver", gpu.driver),
    Check("NVML", gpu.nvml),
    Check("CUDA checkpoints", gpu.checkpoints),
    Check("GPUs in containers", cdi.reach, must=False),
)


def run(config: Config) -> Iterator[Checked]:
    """Every check, one after the other, as each is done. Never raises."""
    probes = Probes(config)
    for check in CHECKS:
        yield Checked(check.name, look(check, probes))


def look(check: Check, probes: Probes) -> Finding:
    """What the check finds; that it can't decide, and why, where it raises. Unknown is not ready."""
    try:
        return check.look(probes)
    except Exception as error:  # noqa: BLE001  # whatever it is: it is reported, and the other checks continue
        said = " ".join(str(error).split())[:SAID] or type(error).__name__
        return Finding("wrong" if check.must else "warning", f"unknown: {said}", "", "")


def is_ready(found: list[Checked]) -> bool:
    """Whether this node restores."""
    return all(one.finding.level != "wrong" for one in found)
