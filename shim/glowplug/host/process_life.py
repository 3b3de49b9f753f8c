"""Ends of processes: distinguished from another process of the same number, tied to a parent's end, waited for.

Used by the runtime: standard library only.
"""

import ctypes
import os
import time

PR_SET_PDEATHSIG = 1  # uapi/linux/prctl.h
SIGTRAP, SIGKILL, SIGCONT, SIGSTOP = 5, 9, 18, 19  # asm-generic/signal.h; the module `signal` takes 6 ms
POLL_S = 0.002

_libc = ctypes.CDLL(None, use_errno=True)


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot (field 22 of proc_pid_stat(5)); None: it is gone.

    With the number it distinguishes a process from a later one that has got its number.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def is_running(pid: int, started: int | None) -> bool:
    """Whether that very process is there and not dead yet; a zombie is dead."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return False
    return int(fields[19]) == started and fields[0] not in (b"Z", b"X", b"x")


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that forked it ends (prctl(2)), also when it ended just now.

    parent: the parent's pid, as it was before the fork.
    """
    _libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), SIGKILL)


def end(pid: int, started: int | None, deadline_s: float) -> bool:
    """SIGKILL that very process and wait until it is dead; whether it is. It need not be a child of ours."""
    until = time.monotonic() + deadline_s
    while is_running(pid, started):
        try:
            os.kill(pid, SIGKILL)
        except ProcessLookupError:
            return True
        if time.monotonic() > until:
            return False
        time.sleep(POLL_S)
    return True
