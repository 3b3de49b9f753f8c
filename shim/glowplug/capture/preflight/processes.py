"""Threads that CRIU could not stop: it would wait ten seconds for them, and the pod be frozen as long. And those that
are not as it takes all threads to be."""

import os
import time
from collections.abc import Iterator

from glowplug.capture.preflight.tree import Refusal, Tree, shown
from glowplug.host import kcmp, proc, process

# A thread that reads a disk is in the same state, for a moment.
PATIENCE_S = 0.5
POLL_S = 0.02

# vfork, clone, clone3
_VFORKS = {"x86_64": ("58", "56", "435"), "aarch64": ("220", "435")}

_SHARED = {kcmp.FS: "a working directory or umask", kcmp.FILES: "open files"}
_SYS_ADMIN = 1 << 21


def traced(tree: Tree) -> Iterator[Refusal]:
    """A thread has one tracer at most, and CRIU has to be it."""
    for pid in tree.pids:
        for thread in proc.tasks(pid):
            tracer = int(_status(thread).get("TracerPid", "0"))
            if tracer:
                yield Refusal(
                    "traced",
                    f"{shown(pid)} is being traced by {shown(tracer)}: end the debugger or tracer first",
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
        if _call(thread) in _VFORKS.get(os.uname().machine, ()):
            yield Refusal(
                "in-vfork",
                f"{shown(pid)} waits in vfork(2) for its child, which neither executes a program nor ends: "
                "try again when it has",
            )
        else:
            yield Refusal(
                "stuck",
                f"{shown(pid)} waits in the kernel (state D) and can't be stopped: a slow disk or network file "
                "system? Try again when it continues",
            )


def leaderless(tree: Tree) -> Iterator[Refusal]:
    """A process whose first thread has ended (pthread_exit(3) in main) looks like a zombie: CRIU takes it for one."""
    for pid in process.tree(tree.pids[0]) if tree.pids else ():
        if process.is_zombie(pid) and any(not process.is_zombie(thread) for thread in proc.tasks(pid)):
            yield Refusal(
                "first-thread-ended",
                f"{shown(pid)} continues although its first thread has ended, which can't be dumped: have that thread "
                "wait for the others",
            )


def stopped(tree: Tree) -> Iterator[Refusal]:
    """A stopped process with a signal that it takes when it continues: it is in no image.

    On cgroup v1 no stopped process is captured at all.
    """
    for pid in tree.pids:
        found = _status(pid)
        pending, blocked = (
            int(found.get("SigPnd", "0"), 16) | int(found.get("ShdPnd", "0"), 16),
            int(found.get("SigBlk", "0"), 16),
        )
        if found.get("State", "?")[0] == "T" and pending & ~blocked:
            yield Refusal(
                "stopped-with-signal",
                f"{shown(pid)} is stopped, and a signal waits for it to continue, which would be lost: have it "
                "continue (SIGCONT) first",
            )


def unshared_threads(tree: Tree) -> Iterator[Refusal]:
    """CRIU takes for granted that all threads of a process share its working directory, descriptors and namespaces."""
    for pid in tree.pids:
        threads = [thread for thread in proc.tasks(pid) if thread != pid]
        own = next((what for thread in threads if (what := _own(pid, thread))), "")
        if own:
            yield Refusal(
                "thread-unshared",
                f"{shown(pid)} has a thread with {own} of its own (unshare(2)), which would come back with those of "
                "the process: have it do without",
            )


def _own(pid: int, thread: int) -> str:
    """What the thread does not share with its process; "" for nothing, and where it can't be compared."""
    for kind, what in _SHARED.items():
        if kcmp.order(pid, thread, kind) > 0:
            return what
    return "a namespace" if _may_unshare(pid) and _namespaces(pid) != _namespaces(thread) else ""


def _may_unshare(pid: int) -> bool:
    return bool(int(_status(pid).get("CapBnd", "0"), 16) & _SYS_ADMIN)


def _namespaces(thread: int) -> list[int]:
    try:
        return [
            os.stat(f"/proc/{thread}/ns/{name}").st_ino for name in ("net", "uts", "ipc", "mnt", "cgroup")
        ]
    except OSError:
        return []


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
