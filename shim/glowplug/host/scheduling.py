"""What a thread is scheduled by, besides what CRIU knows (policy, priority, nice): read and set from outside.

Standard library only: a capture reads it, a restore sets it.
"""

import ctypes
import os

from glowplug.host import proc

IOPRIO_WHO_PROCESS = 1
DEFAULT_SLACK_NS = 50_000  # init_task; see PR_SET_TIMERSLACK in prctl(2)

_IOPRIO_SET, _IOPRIO_GET, _SET_MEMPOLICY = {
    "x86_64": (251, 252, 238),
    "aarch64": (30, 31, 237),
}.get(os.uname().machine, (0, 0, 0))

# Names in numa_maps → modes of set_mempolicy(2).
_MODES = {
    "prefer": 1,
    "bind": 2,
    "interleave": 3,
    "local": 4,
    "prefer (many)": 5,
    "weighted interleave": 6,
}
_FLAGS = {"static": 1 << 15, "relative": 1 << 14}
_NODES_BITS = 1024

_libc = ctypes.CDLL(None, use_errno=True)


def io_priority(thread: int) -> int:
    """Class and level in one number (ioprio_get(2)). Raises OSError."""
    return _checked(_libc.syscall(_IOPRIO_GET, IOPRIO_WHO_PROCESS, thread), "ioprio_get")


def set_io_priority(thread: int, value: int) -> None:
    """Raises OSError."""
    _checked(_libc.syscall(_IOPRIO_SET, IOPRIO_WHO_PROCESS, thread, value), "ioprio_set")


def timer_slack(thread: int) -> int:
    """Nanoseconds. Raises OSError."""
    return int(_read(f"/proc/{thread}/timerslack_ns"))


def set_timer_slack(thread: int, value: int) -> None:
    """Raises OSError."""
    _write(f"/proc/{thread}/timerslack_ns", str(value))


def core_filter(pid: int) -> str:
    """Hexadecimal digits (core(5)); empty in a kernel without core dumps. Raises OSError for one that is gone."""
    try:
        return _read(f"/proc/{pid}/coredump_filter").strip()
    except FileNotFoundError:
        return ""


def set_core_filter(pid: int, value: str) -> None:
    """Raises OSError."""
    _write(f"/proc/{pid}/coredump_filter", f"0x{value}")


def allowed_cpus(pid: int) -> set[int]:
    """The CPUs that its cpuset lets it have; those of the machine where none can be read."""
    for path in _cpusets(pid):
        try:
            return numbers(_read(path))
        except (OSError, ValueError):
            continue
    return numbers(_read("/sys/devices/system/cpu/online"))


def memory_policy(pid: int) -> str:
    """As numa_maps names it, "" for the default one and in a kernel without NUMA.

    The first mapping is the program's own file, which has no policy but the process's.
    """
    try:
        with open(f"/proc/{pid}/numa_maps", "rb", buffering=0) as file:
            line = file.read(4096).decode("ascii", "replace").partition("\n")[0]
    except OSError:
        return ""
    policy = line.partition(" ")[2].partition(" file=")[0].partition(" anon=")[0].strip()
    return "" if policy == "default" else policy


def set_own_memory_policy(policy: str) -> None:
    """Of this thread and of what it forks. Raises OSError, ValueError for a name that is none."""
    mode_text, _, nodes_text = policy.partition(":")
    name, _, flag = mode_text.partition("=")
    mode = _MODES.get(name)
    if mode is None or (flag and flag not in _FLAGS):
        raise ValueError(f"no memory policy is called {policy!r}")
    nodes = numbers(nodes_text) if nodes_text else set()
    words = (ctypes.c_ulong * (_NODES_BITS // 64))()
    for node in nodes:
        words[node // 64] |= 1 << node % 64
    mask, bits = (words, _NODES_BITS + 1) if nodes else (None, 0)
    _checked(_libc.syscall(_SET_MEMPOLICY, mode | _FLAGS.get(flag, 0), mask, bits), "set_mempolicy")


def numbers(text: str) -> set[int]:
    """`0-2,5` as the kernel writes lists. Raises ValueError."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def _cpusets(pid: int) -> list[str]:
    found = []
    for controllers, path in proc.cgroups(pid):
        if "cpuset" in controllers:
            found.append(f"/sys/fs/cgroup/cpuset{path}/cpuset.effective_cpus")
            found.append(f"/sys/fs/cgroup/cpuset{path}/cpuset.cpus")
        elif not controllers:
            found.append(f"/sys/fs/cgroup{path}/cpuset.cpus.effective")
    return found


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _checked(result: int, call: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result
