"""What CRIU does not bring back of processes, set on the restored tree while it is paused (see capture/state.py).

What the new pod can't give (a CPU that its cpuset lacks) is left as a new process has it; what it can and what fails
all the same is the restore's failure. Docs: docs/edits.md.
"""

from __future__ import annotations

import contextlib
import os
import stat

from glowplug.errors import CriuError
from glowplug.host import descriptors, proc, process, scheduling, socket_state, timerfds
from glowplug.layer import beneath

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from glowplug.checkpoint.process_state import (
        DescriptorState,
        OwnerState,
        ProcessState,
        SocketState,
        State,
        ThreadState,
        TimerState,
    )

    Kind = TypeVar("Kind", bound=DescriptorState)


def apply(state: State, tree: dict[int, int], root: str) -> None:
    """On the paused tree: pid in the container → pid here. root: its root directory. Raises CriuError."""
    try:
        for process_state in state.get("processes", ()):
            if process_state["pid"] in tree:
                _process(process_state, tree[process_state["pid"]])
        for socket in state.get("sockets", ()):
            _on_copy(socket, tree, _socket)
        for timer in state.get("timers", ()):
            _on_copy(timer, tree, _timer)
        for owner in state.get("owners", ()):
            _on_copy(owner, tree, _owner)
        for name, other in state.get("unix_links", ()):
            _link_again(root, name, other)
        if state.get("removed_memory"):
            from glowplug.host import sysv  # few need it

            sysv.remove_memory(next(iter(tree.values())), state["removed_memory"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CriuError(f"the state of a process can't be set again: {error}") from error


def own_oom_score_adj(state: State, tree: dict[int, int]) -> None:
    """Of processes that had another than their container; after those of the new pod are set. Raises CriuError."""
    for one in state.get("processes", ()):
        value, pid = one.get("oom_score_adj"), tree.get(one["pid"])
        if pid is not None and isinstance(value, int):
            try:
                process.set_oom_score_adj(pid, value)
            except OSError as error:
                raise CriuError(
                    f"process {one['pid']} can't have its oom_score_adj of {value}: {error}"
                ) from error


def _process(one: ProcessState, pid: int) -> None:
    wanted = one.get("core_filter")
    if wanted and scheduling.core_filter(pid) != wanted:
        scheduling.set_core_filter(pid, wanted)
    if "threads" in one:
        threads = {proc.number_inside(thread): thread for thread in proc.tasks(pid)}
        for reported in one["threads"]:
            if reported["tid"] in threads:
                _thread(reported, threads[reported["tid"]])


def _thread(reported: ThreadState, thread: int) -> None:
    if "cpus" in reported and set(reported["cpus"]) <= scheduling.allowed_cpus(thread):
        os.sched_setaffinity(thread, reported["cpus"])
    if "io_priority" in reported:
        scheduling.set_io_priority(thread, reported["io_priority"])
    if "timer_slack_ns" in reported:
        scheduling.set_timer_slack(thread, reported["timer_slack_ns"])


def _socket(one: SocketState, fd: int) -> None:
    of = socket_state.kind(fd)
    if list(of) != one["kind"]:
        raise ValueError(
            f"descriptor {one['fd']} of process {one['pid']} came back as another kind of socket"
        )
    refused = socket_state.set_options(fd, of, one.get("options", {}))
    if "congestion" in one and not socket_state.set_congestion(fd, one["congestion"]):
        refused.append("TCP_CONGESTION")
    if refused and not _is_closed(fd):
        raise ValueError(f"process {one['pid']}, descriptor {one['fd']}: {', '.join(refused)} can't be set")
    if (
        "SO_REUSEPORT" in one.get("options", {})
        and socket_state.tcp_state(fd) == socket_state.TCP_ESTABLISHED
    ):
        socket_state.measure_segments_anew(fd, of)
    if one.get("has_unacknowledged"):  # see criu/tcp_queues.py
        socket_state.try_again_soon(fd)
    for interface, group, mode, sources in one.get("groups", ()):
        socket_state.join(fd, (interface, group, mode, sources))
    if "multicast_interface" in one:
        socket_state.set_multicast_interface(fd, of, one["multicast_interface"])


def _is_closed(fd: int) -> bool:
    """A TCP socket whose connection led outside: nothing of it counts any more."""
    return socket_state.tcp_state(fd) == socket_state.TCP_CLOSE


def _owner(one: OwnerState, fd: int) -> None:
    if stat.S_IFMT(os.fstat(fd).st_mode) in (stat.S_IFIFO, stat.S_IFSOCK):
        os.fchown(fd, one["uid"], one["gid"])


def _timer(one: TimerState, fd: int) -> None:
    timerfds.arm(fd, one["flags"], one["at_ns"], one["interval_ns"])


def _on_copy(one: Kind, tree: dict[int, int], do: Callable[[Kind, int], None]) -> None:
    if one["pid"] not in tree:
        return
    with descriptors.borrowed(tree[one["pid"]], one["fd"]) as fd:
        do(one, fd)


def _link_again(root: str, name: str, other: str) -> None:
    """Another name of a Unix socket, which the layer brought back as a socket that nobody listens on."""
    source, target = (beneath.open_beneath(root, os.path.dirname(path), os.O_PATH) for path in (name, other))
    try:
        base, new = os.path.basename(name), os.path.basename(other)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new, dir_fd=target)
        os.link(base, new, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    finally:
        os.close(source)
        os.close(target)
