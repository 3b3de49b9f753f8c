"""The process tree as CRIU's images have it.

Field numbers: images/pstree.proto, core.proto.
"""

from typing import NamedTuple

from glowplug.criu import images
from glowplug.criu.images import Message
from glowplug.errors import ImageError

_CORE_TASK = 3
_TASK_STATE, _TASK_COMM = 1, 6

DEAD, STOPPED = 2, 3
"""Task states (criu/include/pid.h): running, a zombie, stopped by a signal before the dump."""


class Process(NamedTuple):
    """One process of the dumped tree. Pids are those of the container's PID namespace."""

    pid: int
    parent: int
    threads: tuple[int, ...]
    state: int
    comm: str


def tree(images_dir: str) -> list[Process]:
    """All processes of the images, parents before children as CRIU lists them. Raises ImageError."""
    found = []
    for entry in images.load(images_dir, "pstree.img", "pstree"):
        pid = entry.required(1, "pstree.pid")
        cores = images.load(images_dir, f"core-{pid}.img", "core")
        if not cores:
            raise ImageError(f"image core-{pid}.img is empty")
        found.append(_process(entry, cores[0]))
    return found


def _process(entry: Message, core: Message) -> Process:
    task = core.message(_CORE_TASK) or Message()
    return Process(
        pid=entry.required(1, "pstree.pid"),
        parent=entry.required(2, "pstree.ppid"),
        threads=tuple(entry.integers(5)),
        state=task.required(_TASK_STATE, "core.tc.task_state"),
        comm=(task.octets(_TASK_COMM) or b"").decode("utf-8", "backslashreplace"),
    )
