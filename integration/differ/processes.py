"""What /proc says of an entire process."""

import hashlib
import os
import re
import struct
from collections.abc import Iterator

from glowplug.host import proc, process, scheduling
from integration.differ.numbers import Numbers

PLAIN = (
    "cmdline",
    "comm",
    "coredump_filter",
    "oom_score_adj",
    "personality",
    "loginuid",
    "uid_map",
    "gid_map",
)
LABELS = ("current", "exec", "fscreate", "keycreate", "sockcreate")
STAT = {
    3: "parent", 4: "group", 5: "session", 6: "terminal", 7: "terminal-group", 37: "exit-signal",
    25: "code-from", 26: "code-to", 27: "stack-from", 44: "data-from", 45: "data-to", 46: "break-from",
    47: "arguments-from", 48: "arguments-to", 49: "environment-from", 50: "environment-to",
}  # fmt: skip
"""Fields of proc_pid_stat(5), counted from 0, that say how it was made."""
AT_SYSINFO_EHDR = 33


def of(pid: int, init: int, numbers: Numbers) -> Iterator[tuple[str, str]]:
    """Raises OSError when it is gone."""
    yield from _status(pid, numbers)
    yield from _stat(pid, numbers)
    for name, value in process.limits(pid).items():
        yield f"limits/{name}", value
    for name in PLAIN:
        yield name, read(f"/proc/{pid}/{name}").replace("\0", " ").strip()
    for name in LABELS:
        yield f"attr/{name}", read(f"/proc/{pid}/attr/{name}").strip("\0\n")
    for name in ("cwd", "root", "exe"):
        yield name, undated(os.readlink(f"/proc/{pid}/{name}"))
    # What its environment says is nobody's business here.
    yield "environ", hashlib.sha256(read(f"/proc/{pid}/environ").encode()).hexdigest()[:16]
    yield "owner", str(os.stat(f"/proc/{pid}").st_uid)  # root's where it is not dumpable (PR_SET_DUMPABLE)
    yield "memory-policy", scheduling.memory_policy(pid)
    yield "timers", numbers.in_text(read(f"/proc/{pid}/timers")).replace("\n", " ").strip()
    yield from _auxiliary(pid)
    yield from _namespaces(pid, init)
    yield from _mounts(pid)


def read(path: str) -> str:
    """Empty where it is not to be read, so that a kernel without such a file differs in nothing."""
    try:
        with open(path, errors="backslashreplace") as file:
            return file.read()
    except OSError:
        return ""


def undated(path: str) -> str:
    """The directory of a ConfigMap's moment by the link that every pod has."""
    return re.sub(r"/\.\.[0-9a-f]{12}(?=/|$)", "/..data", path)


def _status(pid: int, numbers: Numbers) -> Iterator[tuple[str, str]]:
    for name, value in proc.status(pid).items():
        if name in ("PPid", "TracerPid"):
            value = str(numbers.inside(int(value)))
        elif name.startswith("NS"):
            value = value.split()[-1]
        yield f"status/{name}", value


def _stat(pid: int, numbers: Numbers) -> Iterator[tuple[str, str]]:
    words = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if not words:
        raise ProcessLookupError(f"process {pid} is gone")
    fields = ["", "", *words]
    for at, name in STAT.items():
        value = fields[at]
        yield f"stat/{name}", str(numbers.inside(int(value))) if at in (3, 4, 5) else value


def _auxiliary(pid: int) -> Iterator[tuple[str, str]]:
    """getauxval(3), except for the place of the kernel's own page."""
    with open(f"/proc/{pid}/auxv", "rb") as file:
        data = file.read()
    for key, value in struct.iter_unpack("LL", data[: len(data) // 16 * 16]):
        if key not in (0, AT_SYSINFO_EHDR):
            yield f"auxv/{key}", f"{value:#x}"


def _namespaces(pid: int, init: int) -> Iterator[tuple[str, str]]:
    """Which ones it shares with the first process, and which children would be in others."""
    for name in sorted(os.listdir(f"/proc/{pid}/ns")):
        base = name.removesuffix("_for_children")
        same = os.stat(f"/proc/{pid}/ns/{name}").st_ino == os.stat(f"/proc/{init}/ns/{base}").st_ino
        yield f"ns/{name}", "the container's" if same else "another"


def _mounts(pid: int) -> Iterator[tuple[str, str]]:
    """Mount points in order; a mount's number and source are the new pod's."""
    times: dict[str, int] = {}
    for line in read(f"/proc/{pid}/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        point, options, *propagation = before.split()[4:]
        times[point] = times.get(point, 0) + 1
        way = " ".join(sorted(word.partition(":")[0] for word in propagation))
        yield f"mounts/{point}/{times[point]}", f"{after.split()[0]} {options} {way}".strip()
