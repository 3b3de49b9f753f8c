"""What a process needs of a node, as a table of rules of four kinds; a fact that is not known fits no rule.

equal               the same value
at least            the same or more; UNLIMITED is more than any limit
superset            everything the checkpoint needs, and perhaps more
compatible version  the first numbers equal, the rest not older
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from glowplug.checkpoint.bundle import BundleFacts
from glowplug.checkpoint.mounts import cuda_libraries
from glowplug.checkpoint.reason import UNKNOWN, Reason

UNLIMITED = -1  # as the OCI spec writes it


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The node. None: not known."""

    arch: str | None = None  # uname -m
    cpu_features: frozenset[str] | None = None  # CRIU's cpuinfo or the flags of /proc/cpuinfo
    xsave_bytes: int | None = None  # size of the xsave area (CPUID leaf 0xD); 0 where the CPU has none
    kernel: str | None = None  # uname -r
    criu: str | None = None  # "4.2.1"
    image_format: str | None = None  # of the CRIU that wrote or will read the images
    page_bytes: int | None = None
    cgroup: str | None = None  # "v1" or "v2"
    driver: str | None = None  # NVIDIA's exact build, "580.159.04"; "" without one


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU assigned to the container (NVML). Its UUID is no requirement: another may serve."""

    uuid: str
    product: str
    memory_bytes: int
    compute_capability: str  # "9.0"
    mig: bool


@dataclass(frozen=True, slots=True)
class ContainerResources:
    """What the pod assigns to the container. None: not known."""

    memory_limit: int | None = None  # bytes, or UNLIMITED
    cpu_limit: int | None = None  # thousandths of a CPU, or UNLIMITED
    gpus: tuple[Gpu, ...] | None = None
    cuda_libraries: tuple[str, ...] | None = None
    cpus: int | None = None  # how many the spec pins it to, or UNLIMITED
    memory_nodes: int | None = None  # the same of NUMA nodes
    pids_limit: int | None = None  # or UNLIMITED


@dataclass(frozen=True, slots=True)
class HostRequirements:
    """Host and limits in one flat row, as the manifest keeps it; a node is compared by a row of its own."""

    arch: str | None = None
    cpu_features: tuple[str, ...] | None = None
    xsave_bytes: int | None = None
    kernel: str | None = None
    criu: str | None = None
    image_format: str | None = None
    page_bytes: int | None = None
    cgroup: str | None = None
    memory_limit: int | None = None
    cpu_limit: int | None = None
    cpus: int | None = None
    memory_nodes: int | None = None
    pids_limit: int | None = None
    gpu_count: int | None = None
    gpu_products: tuple[str, ...] | None = None
    gpu_memory_bytes: int | None = None  # of the smallest
    gpu_compute: tuple[str, ...] | None = None
    gpu_mig: bool | None = None
    driver: str | None = None
    cuda_libraries: tuple[str, ...] | None = None


def container_resources(
    facts: BundleFacts,
    gpus: Iterable[Gpu] | None,
    *,
    pod_memory: int = UNLIMITED,
    pod_cpu: int = UNLIMITED,
) -> ContainerResources:
    """The limits that the spec and the pod set, and the GPUs that the caller found assigned to the container.

    `gpus` None means not known; a container that asks for none by spec has none whatever NVML says. `pod_memory` in
    bytes, `pod_cpu` in thousandths: of the pod's cgroup, for all of its containers together (rule 8.3).
    """
    found = None if gpus is None else tuple(gpus)
    return ContainerResources(
        memory_limit=_lower(_limit(facts.memory_limit), pod_memory),
        cpu_limit=_lower(_cpu_limit(facts.cpu_quota, facts.cpu_period), pod_cpu),
        cpus=_number_in(facts.cpuset_cpus),
        memory_nodes=_number_in(facts.cpuset_mems),
        pids_limit=_limit(facts.pids_limit),
        gpus=found if asks_for_gpu(facts) else (),
        cuda_libraries=cuda_libraries(facts),
    )


def asks_for_gpu(facts: BundleFacts) -> bool:
    """Whether the spec gives an NVIDIA device by node or mount, or asks NVIDIA's runtime by variable."""
    nodes = [device.path for device in facts.devices] + [mount.source for mount in facts.mounts]
    visible = dict(entry.partition("=")[::2] for entry in facts.env).get("NVIDIA_VISIBLE_DEVICES", "")
    return any(node.startswith("/dev/nvidia") for node in nodes) or visible not in ("", "void", "none")


def require(host: HostFacts, resources: ContainerResources) -> HostRequirements:
    """The row of a node and of what is assigned to a container there: at capture its needs, later what it finds."""
    gpus = resources.gpus
    return HostRequirements(
        arch=host.arch,
        cpu_features=None if host.cpu_features is None else tuple(sorted(host.cpu_features)),
        xsave_bytes=host.xsave_bytes,
        kernel=host.kernel,
        criu=host.criu,
        image_format=host.image_format,
        page_bytes=host.page_bytes,
        cgroup=host.cgroup,
        memory_limit=resources.memory_limit,
        cpu_limit=resources.cpu_limit,
        cpus=resources.cpus,
        memory_nodes=resources.memory_nodes,
        pids_limit=resources.pids_limit,
        gpu_count=None if gpus is None else len(gpus),
        gpu_products=None if gpus is None else tuple(sorted(gpu.product for gpu in gpus)),
        gpu_memory_bytes=min((gpu.memory_bytes for gpu in gpus), default=0) if gpus is not None else None,
        gpu_compute=None if gpus is None else tuple(sorted({gpu.compute_capability for gpu in gpus})),
        gpu_mig=None if gpus is None else any(gpu.mig for gpu in gpus),
        driver=host.driver,
        cuda_libraries=resources.cuda_libraries,
    )


def _limit(value: int | None) -> int:
    return UNLIMITED if value is None or value <= 0 else value


def _lower(one: int, other: int) -> int:
    return max(one, other) if UNLIMITED in (one, other) else min(one, other)


def _cpu_limit(quota: int | None, period: int | None) -> int:
    if quota is None or quota <= 0:
        return UNLIMITED
    return quota * 1000 // (period if period and period > 0 else 100_000)  # the kernel's default period


def _number_in(cpuset: str) -> int | None:
    """How many CPUs or NUMA nodes a list such as "0-3,8" names (cpuset(7), "List format"); None for no list."""
    if not cpuset.strip():
        return UNLIMITED
    found: set[int] = set()
    for item in cpuset.split(","):
        first, _, last = item.strip().partition("-")
        if (
            not first.isdecimal()
            or not (last or first).isdecimal()
            or int(last or first) - int(first) > _CPUS
        ):
            return None
        found.update(range(int(first), int(last or first) + 1))
    return len(found)


_CPUS = 1 << 16  # more than any machine has


# A kind: None when `has` fits `needs`, else how both are reported.
Fit = Callable[..., tuple[str, str] | None]


def equal(needs: object, has: object) -> tuple[str, str] | None:
    """The same value."""
    return None if needs == has else (reported(needs), reported(has))


def at_least(needs: int, has: int) -> tuple[str, str] | None:
    """The same or more. A process that saw no limit may have sized itself for that."""
    fits = has == UNLIMITED or (needs != UNLIMITED and has >= needs)
    return None if fits else (f"at least {reported(needs)}", reported(has))


def superset(needs: tuple[str, ...], has: tuple[str, ...]) -> tuple[str, str] | None:
    """Everything needed; what is missing is reported."""
    missing = sorted(set(needs) - set(has))
    return (", ".join(missing), "none of these") if missing else None


def compatible(fixed: int) -> Fit:
    """A version whose first `fixed` numbers are equal and which is not older."""

    def fit(needs: str, has: str) -> tuple[str, str] | None:
        wanted, found = _numbers(needs), _numbers(has)
        same = len(wanted) >= fixed and wanted[:fixed] == found[:fixed] and found >= wanted
        series = ".".join(str(number) for number in wanted[:fixed]) + ".*"
        return None if same else (f"{needs} or newer of {series}", has)

    return fit


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers: "6.1.0-18-amd64" is (6, 1, 0)."""
    found = re.match(r"[0-9]{1,9}(\.[0-9]{1,9})*", version)
    return tuple(int(number) for number in found[0].split(".")) if found else ()


def reported(value: object) -> str:
    """A fact as a person reads it."""
    if value == UNLIMITED and value is not True:
        return "no limit"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return str(value) or "none"


# field, how it is called, kind, slug. The last ones apply only where the checkpoint has GPUs.
RULES: tuple[tuple[str, str, Fit, str], ...] = (
    ("arch", "CPU architecture", equal, "cpu"),
    ("cpu_features", "CPU features", superset, "cpu"),
    ("xsave_bytes", "bytes of the CPU's xsave area", equal, "cpu"),
    ("kernel", "kernel", compatible(2), "kernel"),
    ("criu", "CRIU", compatible(1), "criu"),
    ("image_format", "CRIU image format", equal, "criu"),
    ("page_bytes", "bytes of a page", equal, "page-size"),
    ("cgroup", "cgroup version", equal, "cgroup"),
    ("memory_limit", "memory limit in bytes", at_least, "memory-limit"),
    ("cpu_limit", "CPU limit in thousandths", at_least, "cpu-limit"),
    ("cpus", "CPUs pinned to", at_least, "cpu-limit"),
    ("memory_nodes", "NUMA nodes pinned to", at_least, "cpu-limit"),
    ("pids_limit", "limit of processes", at_least, "pids-limit"),
    ("gpu_count", "GPUs", equal, "gpu"),
    ("cuda_libraries", "CUDA libraries", equal, "cuda-libraries"),
)
GPU_RULES: tuple[tuple[str, str, Fit, str], ...] = (
    ("gpu_products", "GPU product", equal, "gpu"),
    ("gpu_memory_bytes", "bytes of GPU memory", at_least, "gpu"),
    ("gpu_compute", "GPU compute capability", equal, "gpu"),
    ("gpu_mig", "MIG", equal, "gpu"),
    ("driver", "NVIDIA driver", equal, "driver"),
)


def compare(required: HostRequirements, found: HostRequirements) -> list[Reason]:
    """Every requirement that is not met, in the table's order. A fact unknown on either side is a reason."""
    rules = RULES if required.gpu_count == 0 else RULES + GPU_RULES
    reasons = (_reason(required, found, *rule) for rule in rules)
    return [reason for reason in reasons if reason is not None]


# What a process sizes itself by at its start: one that was captured with less continues with less (rule 8.2).
LIMITS = ("memory_limit", "cpu_limit", "cpus", "memory_nodes", "pids_limit")


def has_same_limits(required: HostRequirements, found: HostRequirements) -> bool:
    """Whether every limit is the captured one. A raised one fits too, and another capture would then pay."""
    return all(getattr(required, name) == getattr(found, name) for name in LIMITS)


def _reason(
    required: HostRequirements, found: HostRequirements, field: str, name: str, fit: Fit, slug: str
) -> Reason | None:
    needs, has = getattr(required, field), getattr(found, field)
    if needs is None or has is None:
        return Reason(name, _short(needs), _short(has), slug)
    differs = fit(needs, has)
    return None if differs is None else Reason(name, *differs, slug)


def _short(value: object) -> str:
    if value is None:
        return UNKNOWN
    return f"{len(value)} of them" if isinstance(value, tuple) and len(value) > 4 else reported(value)
