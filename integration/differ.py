"""All that the kernel says of each process of a container, to be compared before a capture and after a restore.

/proc, getsockopt(2) over copies of the descriptors, scheduling, I/O priority. Descriptors are told by their numbers,
processes and threads by their numbers in the container. KNOWN: what differs, and why that is right.
"""

import os
import re
from collections.abc import Iterator

from glowplug.host import descriptors, proc, process, scheduling, socket_state

Facts = dict[str, str]
"""`PID/field` → what it says."""

KNOWN = (
    (
        r"/maps/\[(vvar|vdso|vvar_vclock)\]",
        "the kernel's own pages lie where the kernel that restores puts them",
    ),
    (r"/fd/[012]/", "the container's stdio is the new container's"),
    (r"/fd/\d+/(pos|flags)$", "a log that is written goes on; O_LARGEFILE is the kernel's own"),
    (r"/fd/\d+/options/(SO_INCOMING_CPU|TCP_DEFER_ACCEPT)$", "measured anew, or rounded to retransmissions"),
    (r"/fd/\d+/target$", "numbers of sockets, pipes and dated directories of ConfigMaps are the new pod's"),
    (
        r"/status/(SigQ|voluntary|nonvoluntary|VmPeak|VmHWM|VmRSS|RssAnon|RssFile|RssShmem|VmPTE|VmSwap|VmData)",
        "use",
    ),
    (r"/status/(Cpus_allowed|Mems_allowed)", "compared as affinity, which knows the cpuset"),
    (
        r"/status/(State|Ngid|NSpid|NStgid|NSpgid|NSsid|PPid|Pid|Tgid|FDSize|Kthread|SigPnd|ShdPnd)",
        "of the moment",
    ),
    (
        r"/status/(VmSize|VmLib|VmExe|VmStk|HugetlbPages|CoreDumping|THP_enabled|Seccomp_filters|x86)",
        "counted anew",
    ),
    (r"/status/Speculation", "the new container's"),
    (r"^(?!/1/).*/memory-policy$", "the first process's is all that a restore can give (docs/edits.md)"),
)


def of(init: int) -> Facts:
    """Of the tree below a container's first process (the node's pid)."""
    return {
        f"{_inner(pid)}/{field}": value
        for pid in process.tree(init)
        if not process.is_zombie(pid)
        for field, value in _process(pid)
    }


def differences(before: Facts, after: Facts) -> list[str]:
    """A line for each field that differs and is not known to."""
    found = []
    for field in sorted(before.keys() | after.keys()):
        was, now = before.get(field, "nothing"), after.get(field, "nothing")
        if was != now and not any(re.search(pattern, f"/{field}") for pattern, _ in KNOWN):
            found.append(f"{field}: was {was}, is {now}")
    return found


def _process(pid: int) -> Iterator[tuple[str, str]]:
    for name, value in proc.status(pid).items():
        yield f"status/{name}", value
    for name, value in process.limits(pid).items():
        yield f"limits/{name}", value
    for name in ("cmdline", "comm", "coredump_filter", "oom_score_adj", "personality"):
        yield name, _read(f"/proc/{pid}/{name}")
    for name in ("cwd", "root", "exe"):
        yield name, re.sub(r"/\.\.[0-9a-f_.]+", "/..data", os.readlink(f"/proc/{pid}/{name}"))
    yield "label", process.label(pid)
    yield "memory-policy", scheduling.memory_policy(pid)
    yield from _maps(pid)
    for one in descriptors.of([pid]):
        yield from _descriptor(one)
    cpus = scheduling.allowed_cpus(pid)
    for name in os.listdir(f"/proc/{pid}/task"):
        yield from _thread(int(name), cpus)


def _thread(thread: int, cpus: set[int]) -> Iterator[tuple[str, str]]:
    at = f"thread/{_inner(thread)}"
    affinity = os.sched_getaffinity(thread)
    yield f"{at}/comm", _read(f"/proc/{thread}/comm")
    yield f"{at}/affinity", "all" if affinity == cpus else str(sorted(affinity))
    yield f"{at}/io-priority", str(scheduling.io_priority(thread))
    yield f"{at}/timer-slack", str(scheduling.timer_slack(thread))
    yield f"{at}/policy", str(os.sched_getscheduler(thread))
    yield f"{at}/priority", str(os.sched_getparam(thread).sched_priority)
    yield f"{at}/nice", str(os.getpriority(os.PRIO_PROCESS, thread))
    status = proc.status(thread)
    for name in ("SigBlk", "CapEff", "CapPrm", "NoNewPrivs", "Seccomp", "Uid", "Gid"):
        yield f"{at}/{name}", status.get(name, "")


def _maps(pid: int) -> Iterator[tuple[str, str]]:
    """Places and rights of mappings by their names; neighbours with the same rights count as one."""
    found: dict[str, list[tuple[int, int, str]]] = {}
    for line in _read(f"/proc/{pid}/maps").splitlines():
        words = line.split(None, 5)
        first, last = (int(edge, 16) for edge in words[0].split("-"))
        name = words[5] if len(words) > 5 else ""
        if not name or name.startswith("[heap"):
            continue
        parts = found.setdefault(name, [])
        if parts and parts[-1][1] == first and parts[-1][2] == words[1]:
            first = parts.pop()[0]
        parts.append((first, last, words[1]))
    for name, parts in found.items():
        yield f"maps/{name}", " ".join(f"{first:x}-{last:x} {rights}" for first, last, rights in parts)


def _descriptor(one: descriptors.Descriptor) -> Iterator[tuple[str, str]]:
    at = f"fd/{one.number}"
    yield f"{at}/kind", re.sub(r":?\[?\d+\]?$", "", one.target.split("(")[0]) if "[" in one.target else "file"
    yield f"{at}/target", one.target
    try:
        with open(f"/proc/{one.pid}/fdinfo/{one.number}") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name in (
                    "pos",
                    "flags",
                    "eventfd-count",
                    "sigmask",
                    "clockid",
                    "settime flags",
                    "it_interval",
                ):
                    yield f"{at}/{name}", value.strip()
                elif line.startswith("inotify"):
                    yield (
                        f"{at}/{line.split()[1]}",
                        next(word for word in line.split() if word.startswith("mask")),
                    )
        if not one.target.startswith("socket:"):
            return
        with descriptors.borrowed(one.pid, one.number) as fd:
            of = socket_state.kind(fd)
            if of[2] == 6 and socket_state.tcp_state(fd) == socket_state.TCP_CLOSE:
                return  # it led outside
            yield f"{at}/socket", str(of)
            yield f"{at}/congestion", socket_state.congestion(fd, of)
            yield f"{at}/groups", str(socket_state.groups(fd, of, socket_state.known_groups(one.pid)))
            for option, number in socket_state.options(fd, of).items():
                yield f"{at}/options/{option}", str(number)
    except OSError:
        return


def _inner(pid: int) -> int:
    return int(proc.status(pid)["NSpid"].split()[-1])


def _read(path: str) -> str:
    try:
        with open(path, errors="backslashreplace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""
