"""What CRIU takes to be each process's own, or the container's: memory, working directory, open files, namespaces.

It says so in the middle of its dump ("Can't make VM id", "Can't dump nested ipc namespace"), with the container frozen.
"""

import os
from collections.abc import Iterator

from glowplug.capture.preflight.tree import Refusal, Tree, shown
from glowplug.host import kcmp, proc

_KINDS = {kcmp.VM: "its memory", kcmp.FS: "its working directory and umask", kcmp.FILES: "its open files"}
# A process may have a mount or network namespace of its own (CLONE_SUBNS in criu/include/namespaces.h), no other.
_NAMESPACES = {
    "ipc": "IPC",
    "uts": "UTS",
    "pid": "PID",
    "pid_for_children": "PID",
    "user": "user",
    "time": "time",
    "time_for_children": "time",
    "cgroup": "cgroup",
}


def between_processes(tree: Tree) -> Iterator[Refusal]:
    """clone(2) with CLONE_VM, CLONE_FS or CLONE_FILES and without CLONE_THREAD. Open files may be a parent's too."""
    for kind, what in _KINDS.items():
        for one, other in kcmp.same(tree.pids, kind):
            if kind == kcmp.FILES and (proc.parent(one) == other or proc.parent(other) == one):
                continue
            yield Refusal(
                "shared-with-process",
                f"{shown(max(one, other))} shares {what} with {shown(min(one, other))} (clone(2)), which can't be "
                "dumped: try again when it has executed its program, or have it use a thread or fork(2)",
            )


def nested_namespaces(tree: Tree) -> Iterator[Refusal]:
    """A process with a namespace that the first one does not have: a sandbox, a browser, another container."""
    if not tree.pids:
        return
    container = _namespaces(tree.pids[0])
    for pid in tree.pids:
        own = _namespaces(pid)
        kind = next((kind for name, kind in _NAMESPACES.items() if own[name] != _usual(name, container)), "")
        if kind and own["pid"] and os.path.exists(f"/proc/{pid}/ns/pid"):
            yield Refusal(
                "nested-namespace",
                f"{shown(pid)} has {'an' if kind == 'IPC' else 'a'} {kind} namespace inside the container's "
                "(unshare(2)), which can't be dumped: have it do without (a browser: --no-sandbox)",
            )


def _usual(name: str, container: dict[str, int]) -> int:
    """What a process of the container has if it made none of its own."""
    return container[name.removesuffix("_for_children")]


def _namespaces(pid: int) -> dict[str, int]:
    """By their inodes; 0 where the kernel has no such kind, and where there is none yet: the PID namespace of children
    begins with the first of them."""
    return {name: _inode(f"/proc/{pid}/ns/{name}") for name in _NAMESPACES}


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0
