"""The facts of this node that a checkpoint may depend on. What can't be read is None, never a guess."""

import ctypes
import os

from glowplug.checkpoint.requirements import HostFacts
from glowplug.errors import HostError
from glowplug.host import cgroup

AT_MINSIGSTKSZ = 51  # uapi/linux/auxvec.h: the stack that a signal takes, which grows with the xsave area


def read(criu_version: str | None) -> HostFacts:
    """`criu_version`: of the CRIU that this node restores with, "4.2.1"; None when there is none."""
    node = os.uname()
    return HostFacts(
        arch=node.machine,
        cpu_features=_cpu_features(),
        xsave_bytes=_xsave_bytes(),
        kernel=node.release,
        criu=criu_version,
        image_format="1.1",  # CRTOOLS_IMAGES_V1_1, the one that CRIU has written since 2.0
        page_bytes=os.sysconf("SC_PAGE_SIZE"),
        cgroup=_cgroup(),
        driver=_driver(),
    )


def _cpu_features() -> frozenset[str] | None:
    """The flags that every CPU of this node has (proc_cpuinfo(5); "Features" on Arm)."""
    found: frozenset[str] | None = None
    try:
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() in ("flags", "Features"):
                    flags = frozenset(value.split())
                    found = flags if found is None else found & flags
    except OSError:
        return None
    return found


def _xsave_bytes() -> int | None:
    value = int(ctypes.CDLL(None).getauxval(AT_MINSIGSTKSZ))
    return value or None


def _cgroup() -> str | None:
    try:
        return f"v{cgroup.version()}"
    except (HostError, OSError):
        return None


def _driver() -> str | None:
    """NVIDIA's kernel module says its exact build; "" where there is none."""
    try:
        with open("/sys/module/nvidia/version") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""
    except OSError:
        return None
