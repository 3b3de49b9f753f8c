"""Memory: whether it may come back as huge pages."""

from glowplug.errors import HostError
from glowplug.node.doctor.finding import Finding, ok, warning
from glowplug.node.doctor.probes import Probes

_THP = "/sys/kernel/mm/transparent_hugepage"


def huge_pages(_: Probes) -> Finding:
    """Transparent huge pages, for private and for shared memory."""
    return judge_huge_pages(_read("enabled"), _read("shmem_enabled"))


def judge_huge_pages(enabled: str | None, shared: str | None) -> Finding:
    """`enabled`, `shared`: "always [madvise] never" as sysfs shows it; None where the kernel has no such file.

    HostError where nothing is chosen in it.
    """
    found = _chosen(enabled) if enabled else "not in this kernel"
    want: list[str] = []
    fix: list[str] = []
    if found not in ("always", "madvise"):
        want.append("madvise or always: with small pages, memory takes about twice as long to come back")
        fix.append(f"echo madvise >{_THP}/enabled")
    if shared:
        chosen = _chosen(shared)
        found += f"; shared memory: {chosen}"
        if chosen in ("never", "deny"):
            want.append(
                "shmem_enabled at advise: 16 GB of weights that CUDA has pinned come back in 4.9 s, not in 9.0"
            )
            fix.append(
                f"glowplug node install --huge-shm, or until the next boot echo advise >{_THP}/shmem_enabled"
            )
    return warning(found, "; ".join(want), "; ".join(fix)) if want else ok(found)


def _chosen(text: str) -> str:
    for word in text.split():
        if word.startswith("[") and word.endswith("]"):
            return word[1:-1]
    raise HostError(f"expected one word in brackets, got {text.strip()[:60]!r}")


def _read(name: str) -> str | None:
    try:
        with open(f"{_THP}/{name}") as file:
            return file.read()
    except FileNotFoundError:
        return None
