"""Threads that CRIU could not stop: it would wait ten seconds for them, and the pod be frozen as long."""

import platform
import time
from collections.abc import Iterator

from glowplug.capture.preflight.tree import Refusal, Tree, named
from glowplug.host import proc

# A thread that reads a disk is in the same state, for a moment.
PATIENCE_S = 0.5
POLL_S = 0.02

# vfork, clone, clone3
_VFORKS = {"x86_64": ("58", "56", "435"), "aarch64": ("220", "435")}


def traced(tree: Tree) -> Iterator[Refusal]:
    """A thread has one tracer at most, and CRIU has to be it."""
    for pid in tree.pids:
        for thread in proc.tasks(pid):
            tracer = int(_status(thread).get("TracerPid", "0"))
            if tracer:
                yield Refusal(
                    "traced",
                    f"{named(pid)} is being traced by {named(tracer)}: end the debugger or tracer first",
                )
                break


def stuck(tree: Tree) -> Iterator[Refusal]:
    """A parent in vfork(2) waits, deaf to signals, until its child executes a program or ends."""
    until = time.monotonic() + PATIENCE_S
    waiting = [(pid, thread) for pid in tree.pids for thread in proc.tasks(pid) if _is_deaf(thread)]
    while waiting and time.monotonic() < until:
        time.sleep(POLL_S)
        waiting = [(pid, thread) for pid, thread in waiting if _is_deaf(thread)]
    for pid, thread in waiting:
        if _call(thread) in _VFORKS.get(platform.machine(), ()):
            yield Refusal(
                "in-vfork",
                f"{named(pid)} waits in vfork(2) for its child, which neither executes a program nor ends: "
                "try again when it has",
            )
        else:
            yield Refusal(
                "stuck",
                f"{named(pid)} waits in the kernel (state D) and can't be stopped: a slow disk or network file "
                "system? Try again when it goes on",
            )


def _status(thread: int) -> dict[str, str]:
    try:
        return proc.status(thread)
    except OSError:
        return {}


def _is_deaf(thread: int) -> bool:
    return _status(thread).get("State", "?")[0] == "D"


def _call(thread: int) -> str:
    """The number of the system call that it is in (proc_pid_syscall(5)); "" where it can't be read."""
    try:
        with open(f"/proc/{thread}/syscall") as file:
            return file.read().split()[0]
    except (OSError, IndexError):
        return ""
