"""What the kernel says of each thread."""

import ctypes
import os
import platform
import struct
from collections.abc import Iterator

from glowplug.host import proc, scheduling
from integration.differ.numbers import Numbers
from integration.differ.processes import read, undated

STATUS = (
    "SigBlk", "SigPnd", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters",
    "Uid", "Gid", "Groups", "Umask",
)  # fmt: skip
_GET_ROBUST_LIST, _SCHED_GETATTR = {"x86_64": (274, 315), "aarch64": (100, 275)}[platform.machine()]
KCMP_FILES, KCMP_FS = 2, 3
_KCMP = {"x86_64": 312, "aarch64": 272}[platform.machine()]
_libc = ctypes.CDLL(None, use_errno=True)


def of(pid: int, numbers: Numbers) -> Iterator[tuple[str, str]]:
    """Those that end or begin meanwhile are left out. Raises OSError when the process is gone."""
    cpus = scheduling.allowed_cpus(pid)
    for thread in proc.tasks(pid):
        if numbers.inside(pid) and not numbers.inside(thread):
            continue
        try:
            one = dict(_thread(pid, thread, cpus, numbers))
        except OSError:
            continue
        yield from ((f"thread/{numbers.inside(thread)}/{field}", value) for field, value in one.items())


def _thread(pid: int, thread: int, cpus: set[int], numbers: Numbers) -> Iterator[tuple[str, str]]:
    at = f"/proc/{pid}/task/{thread}"
    affinity = os.sched_getaffinity(thread)
    for name in ("cwd", "root"):
        yield name, undated(os.readlink(f"{at}/{name}"))
    yield "fs", "its own" if _libc.syscall(_KCMP, pid, thread, KCMP_FS, 0, 0) > 0 else "the process's"
    yield "files", "its own" if _libc.syscall(_KCMP, pid, thread, KCMP_FILES, 0, 0) > 0 else "the process's"
    yield "comm", read(f"{at}/comm").strip()
    yield "affinity", "all" if affinity == cpus else str(sorted(affinity))
    yield "io-priority", str(scheduling.io_priority(thread))
    yield "timer-slack", str(scheduling.timer_slack(thread))
    yield "scheduling", _scheduling(thread)
    yield "robust-list", _robust_list(thread)
    yield "children", str(sorted(numbers.inside(int(child)) for child in read(f"{at}/children").split()))
    yield "label", read(f"{at}/attr/current").strip("\0\n")
    status = proc.status(f"{pid}/task/{thread}")
    for name in STATUS:
        yield name, status.get(name, "")


def _scheduling(thread: int) -> str:
    """sched_getattr(2): policy, flags, nice, priority, runtime, deadline, period, clamps of utilisation."""
    buffer = ctypes.create_string_buffer(56)
    if _libc.syscall(_SCHED_GETATTR, thread, buffer, 56, 0):
        return os.strerror(ctypes.get_errno())
    return " ".join(str(one) for one in struct.unpack("=IIQiIQQQII", buffer.raw)[1:])


def _robust_list(thread: int) -> str:
    """Where its list of futexes is that are to be freed when it ends (get_robust_list(2))."""
    head, length = ctypes.c_void_p(), ctypes.c_size_t()
    if _libc.syscall(_GET_ROBUST_LIST, thread, ctypes.byref(head), ctypes.byref(length)):
        return os.strerror(ctypes.get_errno())
    return f"{head.value or 0:#x} {length.value}"
