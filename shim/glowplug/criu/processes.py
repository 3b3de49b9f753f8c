"""The process tree as CRIU's images hold it: who comes back, and with which powers.

Field numbers: images/pstree.proto, core.proto, creds.proto.
"""

from typing import NamedTuple

from glowplug.criu import images
from glowplug.criu.images import Message
from glowplug.errors import ImageError

_CORE_TASK, _CORE_THREAD = 3, 5
_TASK_STATE, _TASK_COMM = 1, 6
_THREAD_CREDS, _THREAD_SECCOMP = 10, 11

DEAD, STOPPED = 2, 3
"""Task states (criu/include/pid.h): running, a zombie, stopped by a signal before the dump."""


class Process(NamedTuple):
    """One process of the dumped tree. Pids are those of the container's PID namespace."""

    pid: int
    parent: int
    group: int
    session: int
    threads: tuple[int, ...]
    state: int
    comm: str
    memory: int
    """Number that processes share which share one address space (CLONE_VM); 0 for a zombie."""
    uids: tuple[int, ...]
    """Real, effective, saved, file system; the same for gids."""
    gids: tuple[int, ...]
    groups: tuple[int, ...]
    inheritable: int
    permitted: int
    effective: int
    bounding: int
    ambient: int
    no_new_privs: bool
    seccomp: int
    """0 none, 1 strict, 2 filter (SECCOMP_MODE_* of linux/seccomp.h)."""


def tree(images_dir: str) -> list[Process]:
    """All processes of the images, parents before children as CRIU lists them. Raises ImageError."""
    memories = {
        pid: ids.required(1, "ids.vm_id")
        for pid, name in images.names(images_dir, "ids")
        for ids in images.load(images_dir, name, "ids")
    }
    found = []
    for entry in images.load(images_dir, "pstree.img", "pstree"):
        pid = entry.required(1, "pstree.pid")
        cores = images.load(images_dir, f"core-{pid}.img", "core")
        if not cores:
            raise ImageError(f"image core-{pid}.img is empty")
        found.append(_process(entry, cores[0], memories.get(pid, 0)))
    return found


def _process(entry: Message, core: Message, memory: int) -> Process:
    task = core.message(_CORE_TASK) or Message()
    thread = core.message(_CORE_THREAD) or Message()
    creds = thread.message(_THREAD_CREDS) or Message()
    return Process(
        pid=entry.required(1, "pstree.pid"),
        parent=entry.required(2, "pstree.ppid"),
        group=entry.required(3, "pstree.pgid"),
        session=entry.required(4, "pstree.sid"),
        threads=tuple(entry.integers(5)),
        state=task.required(_TASK_STATE, "core.tc.task_state"),
        comm=(task.octets(_TASK_COMM) or b"").decode("utf-8", "backslashreplace"),
        memory=memory,
        uids=tuple(creds.integer(field) or 0 for field in (1, 3, 5, 7)),
        gids=tuple(creds.integer(field) or 0 for field in (2, 4, 6, 8)),
        groups=tuple(creds.integers(14)),
        inheritable=_capabilities(creds, 9),
        permitted=_capabilities(creds, 10),
        effective=_capabilities(creds, 11),
        bounding=_capabilities(creds, 12),
        ambient=_capabilities(creds, 19),
        no_new_privs=bool(creds.integer(18)),
        seccomp=thread.integer(_THREAD_SECCOMP) or 0,
    )


def _capabilities(creds: Message, field: int) -> int:
    """A capability set as one number, from the 32-bit words in which CRIU keeps it."""
    return sum((word & 0xFFFFFFFF) << 32 * at for at, word in enumerate(creds.integers(field)))
