"""What CRIU does not keep of processes, read at the capture and set again at the gate of a restore (restore/state.py).

Its form is checkpoint/process_state.py.
"""

import contextlib
import json
import os
from collections.abc import Mapping

from glowplug.capture.unix_names import Names
from glowplug.checkpoint.process_state import (
    OwnerState,
    ProcessState,
    SocketState,
    State,
    ThreadState,
    TimerState,
)
from glowplug.host import descriptors, proc, process, scheduling, socket_state, sysv, timerfds
from glowplug.restore.captured_state import NAME


def read(
    pids: list[int],
    names: Names,
    oom_score_adj: int | None,
    own_settings: Mapping[int, dict[str, int]],
) -> State:
    """Of the frozen processes `pids`. oom_score_adj: the container's own, which a restore sets in the new pod.
    own_settings: thread → what it said of itself before the freeze (host/own_settings.py)."""
    inner = {pid: proc.number_inside(pid) for pid in pids}
    cpus = scheduling.allowed_cpus(pids[0])
    known = socket_state.known_groups(pids[0])
    return {
        "memory_policy": scheduling.memory_policy(pids[0]),
        "processes": [_process(pid, inner[pid], cpus, oom_score_adj) for pid in pids],
        "sockets": [
            socket
            for one in descriptors.sockets(pids)
            if (socket := _socket(one, inner[one.pid], known)) is not None
        ],
        "timers": [
            timer
            for one in descriptors.of(pids)
            if one.target == "anon_inode:[timerfd]" and (timer := _timer(one, inner[one.pid])) is not None
        ],
        "owners": _owners(pids, inner),
        "unix_links": names.others,
        "removed_memory": sysv.removed_memory(pids[0]),
        "own_settings": [
            {"pid": inner[pid], "tid": proc.number_inside(thread), "settings": own_settings[thread]}
            for pid in pids
            for thread in proc.tasks(pid)
            if thread in own_settings
        ],
    }


def write(state: State, images_dir: str) -> None:
    """Raises OSError."""
    with open(os.path.join(images_dir, NAME), "w", encoding="ascii") as file:
        json.dump(state, file)


def _owners(pids: list[int], inner: dict[int, int]) -> list[OwnerState]:
    """Whose pipes and sockets are, where that is not root, as whom CRIU makes them all.

    A pipe's owner counts when it is opened by /proc/PID/fd, a socket when another is bound to its address with
    SO_REUSEPORT.
    """
    seen, found = set(), list[OwnerState]()
    for one in descriptors.of(pids):
        if not one.inode or one.inode in seen:
            continue
        seen.add(one.inode)
        with contextlib.suppress(OSError):
            of = os.stat(f"/proc/{one.pid}/fd/{one.number}")
            if (of.st_uid, of.st_gid) != (0, 0):
                found.append({"pid": inner[one.pid], "fd": one.number, "uid": of.st_uid, "gid": of.st_gid})
    return found


def _process(pid: int, inside: int, cpus: set[int], oom_score_adj: int | None) -> ProcessState:
    found: ProcessState = {"pid": inside, "core_filter": scheduling.core_filter(pid)}
    own = process.oom_score_adj(pid)
    if oom_score_adj is not None and own != oom_score_adj:
        found["oom_score_adj"] = own
    threads = [_thread(thread, cpus) for thread in proc.tasks(pid)]
    differing = [thread for thread in threads if len(thread) > 1]
    if differing:
        found["threads"] = differing
    return found


def _thread(thread: int, cpus: set[int]) -> ThreadState:
    found: ThreadState = {"tid": proc.number_inside(thread)}
    affinity = os.sched_getaffinity(thread)
    if affinity < cpus:
        found["cpus"] = sorted(affinity)
    priority = scheduling.io_priority(thread)
    if priority >> 13 not in (0, 2) or _level_was_set(thread, priority):
        found["io_priority"] = priority
    slack = scheduling.timer_slack(thread)
    if slack not in (0, scheduling.DEFAULT_SLACK_NS):
        found["timer_slack_ns"] = slack
    return found


def _level_was_set(thread: int, priority: int) -> bool:
    """Of the best-effort class: without a word of its own, a thread has the level that its nice value gives."""
    level = (os.getpriority(os.PRIO_PROCESS, thread) + 20) // 5
    return priority >> 13 == 2 and priority & 0x7 != level


def _socket(
    one: descriptors.Descriptor, inside: int, known: list[tuple[str, int, str]]
) -> SocketState | None:
    """None where there is nothing to set again."""
    try:
        with descriptors.borrowed(one.pid, one.number) as fd:
            of = socket_state.kind(fd)
            options = socket_state.options(fd, of) | socket_state.changed_by_criu(fd, of)
            congestion = socket_state.congestion(fd, of)
            groups = socket_state.groups(fd, of, known)
            interface = socket_state.multicast_interface(fd, of)
            has_unacknowledged = socket_state.has_unacknowledged(fd, of)
    except OSError:
        return None
    found: SocketState = {"pid": inside, "fd": one.number, "kind": list(of)}
    if options:
        found["options"] = options
    if congestion:
        found["congestion"] = congestion
    if groups:
        found["groups"] = groups
    if interface:
        found["multicast_interface"] = interface
    if has_unacknowledged:
        found["has_unacknowledged"] = True
    return found if len(found) > 3 else None


def _timer(one: descriptors.Descriptor, inside: int) -> TimerState | None:
    due = timerfds.due(one.pid, one.number)
    if due is None:
        return None
    flags, at_ns, interval_ns = due
    return {"pid": inside, "fd": one.number, "flags": flags, "at_ns": at_ns, "interval_ns": interval_ns}
