"""The kernel: its version, its cgroups, and what it lets root do. What it was built with: `kernel_options`."""

import os

from glowplug.capture.real_user import CAP_SYS_RESOURCE
from glowplug.capture.subject import PAGE_BYTES
from glowplug.host import cgroup, process
from glowplug.node.doctor.finding import Finding, ok, warning, wrong
from glowplug.node.doctor.probes import Probes
from glowplug.node.doctor.programs import version_numbers

OLDEST = (5, 6)
"""openat2(2), by which every path in a container is opened."""

CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_MKNOD": 27}
"""What a restore is made with (uapi/linux/capability.h), besides what any root has."""

NO_ATTACH = 3  # Documentation/admin-guide/LSM/Yama.rst; it can't be lowered on a running kernel

_YAMA = "/proc/sys/kernel/yama/ptrace_scope"


def version(_: Probes) -> Finding:
    """The kernel's version."""
    return judge_version(os.uname().release)


def judge_version(release: str) -> Finding:
    """`release`: as uname(2) says it. HostError where it has no numbers."""
    if version_numbers(release)[:2] >= OLDEST:
        return ok(release)
    oldest = ".".join(map(str, OLDEST))
    return wrong(release, f"Linux {oldest} or newer", "boot a newer kernel")


def page_size(_: Probes) -> Finding:
    """The size of a page."""
    return judge_page_size(os.sysconf("SC_PAGE_SIZE"))


def judge_page_size(page_bytes: int) -> Finding:
    """Images are rewritten in pages of one size (capture/subject.py)."""
    if page_bytes == PAGE_BYTES:
        return ok(f"{page_bytes} bytes")
    return wrong(
        f"{page_bytes} bytes", f"{PAGE_BYTES}: others were not tried", "boot a kernel with such pages"
    )


def ptrace(_: Probes) -> Finding:
    """Whether root may attach to a process, as CRIU and the ptrace hold on CUDA processes do (Yama)."""
    if not os.path.exists(_YAMA):
        return judge_ptrace(None)
    with open(_YAMA) as file:
        return judge_ptrace(file.read())


def judge_ptrace(scope: str | None) -> Finding:
    """`scope`: what Yama's file holds; None without Yama. ValueError where that is no number."""
    if scope is None:
        return ok("allowed; no Yama")
    if int(scope) < NO_ATTACH:
        return ok(f"allowed; Yama's ptrace_scope is {int(scope)}")
    return wrong(
        f"forbidden: Yama's ptrace_scope is {int(scope)}",
        f"less than {NO_ATTACH}",
        "set kernel.yama.ptrace_scope = 1 in /etc/sysctl.d, and reboot",
    )


def capabilities(_: Probes) -> Finding:
    """The capabilities of root on this node."""
    return judge_capabilities(process.effective_capabilities("self"))


def judge_capabilities(effective: int) -> Finding:
    """`effective`: the set of root here, as bits (capabilities(7))."""
    missing = [name for name, bit in CAPABILITIES.items() if not effective >> bit & 1]
    if missing:
        return wrong(
            f"root lacks {', '.join(missing)}", "a root with all capabilities", "run on the node itself"
        )
    if not effective >> CAP_SYS_RESOURCE & 1:
        return warning(
            "root lacks CAP_SYS_RESOURCE",
            "CAP_SYS_RESOURCE, to capture containers whose processes run as several users",
            "run the agent on the node itself, as root with all capabilities",
        )
    return ok("root has what CRIU needs")


def cgroups(_: Probes) -> Finding:
    """HostError: no hierarchy is mounted."""
    return judge_cgroups(cgroup.version(), cgroup.mountpoints())


def judge_cgroups(version: int, mounted: list[str]) -> Finding:
    """`mounted`: where hierarchies are. v2 has a built-in freezer since Linux 5.2, v1 as a controller."""
    if version == 2 or any("freezer" in os.path.basename(point).split(",") for point in mounted):
        return ok(f"v{version}")
    return wrong(
        "v1 without the freezer controller",
        "a mounted freezer hierarchy, or cgroup v2",
        "boot with systemd.unified_cgroup_hierarchy=1",
    )
