"""state.json beside CRIU's images: what CRIU does not keep of processes, as a capture writes it and a restore reads it.

Processes and threads by their numbers in the container, descriptors by theirs in the process. Only what differs from
what a restored process has anyway is in it. Types alone: imported by type checkers and the agent's side.
"""

from typing import NotRequired, TypedDict


class ThreadState(TypedDict):
    """`io_priority`: ioprio_get(2)'s value."""

    tid: int
    cpus: NotRequired[list[int]]
    io_priority: NotRequired[int]
    timer_slack_ns: NotRequired[int]


class ProcessState(TypedDict):
    """`core_filter`: the hexadecimal digits of /proc/PID/coredump_filter, "" where there is none."""

    pid: int
    core_filter: NotRequired[str]
    oom_score_adj: NotRequired[int]
    threads: NotRequired[list[ThreadState]]


class DescriptorState(TypedDict):
    """A descriptor, and what is to be set on it."""

    pid: int
    fd: int


class SocketState(DescriptorState):
    """See host/socket_state.py. `kind`: family, type, protocol. `groups`: interface, group, filter mode, sources."""

    kind: list[int]
    options: NotRequired[dict[str, int]]
    congestion: NotRequired[str]
    groups: NotRequired[list[tuple[str, str, int, list[str]]]]
    multicast_interface: NotRequired[str]
    has_unacknowledged: NotRequired[bool]


class TimerState(DescriptorState):
    """An absolute timerfd of the wall clock: timerfd_settime(2)'s flags, its next moment, and its interval."""

    flags: int
    at_ns: int
    interval_ns: int


class OwnerState(DescriptorState):
    """Of a pipe or a socket that is not root's."""

    uid: int
    gid: int


class OwnSettings(TypedDict):
    """Of a thread: see host/own_settings.py."""

    pid: int
    tid: int
    settings: dict[str, int]


class State(TypedDict, total=False):
    """All of it; a checkpoint of an older Glowplug has less. `memory_policy`: the first process's, as numa_maps says
    it. `unix_links`: a name of a socket, and another name of the same. `removed_memory`: System V segments that are
    removed and still attached, by number."""

    memory_policy: str
    processes: list[ProcessState]
    sockets: list[SocketState]
    timers: list[TimerState]
    owners: list[OwnerState]
    unix_links: list[tuple[str, str]]
    removed_memory: list[int]
    own_settings: list[OwnSettings]
