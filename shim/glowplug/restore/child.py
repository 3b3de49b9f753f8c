"""Programs that the runtime runs: children that die with it, within a deadline, with the descriptors it says.

The runtime may be killed at any moment (containerd's deadline). PR_SET_PDEATHSIG makes the kernel kill runc
too, so that no restore goes on that nobody will ever see; CRIU then loses its connection to runc and ends.
"""

import ctypes
import os
import signal
import time

from glowplug.errors import RuncError

PR_SET_PDEATHSIG = 1
POLL_S = 0.002
KILLED_WAIT_S = 5.0

_libc = ctypes.CDLL(None, use_errno=True)


class TimedOut(RuncError):
    """A child was killed because its time was over."""


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies (prctl(2)), also when it died just now."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def spawn(arguments: list[str], stdio: tuple[int, int, int], env: dict[str, str]) -> int:
    """Start a program in this working directory; its pid. Raises RuncError when there is no such program.

    Call it from the main thread: the kernel ties the death signal to the thread that forked.
    """
    if not os.access(arguments[0], os.X_OK) and "/" in arguments[0]:
        raise RuncError(f"wanted the program {arguments[0]}, found none that can be run: install it")
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        die_with_parent(parent)
        moved = [os.dup(fd) for fd in stdio]
        for target, fd in enumerate(moved):
            os.dup2(fd, target)
        os.closerange(3, 256)
        os.execvpe(arguments[0], arguments, env)
    finally:
        os._exit(127)


def wait(pid: int, deadline_s: float) -> int:
    """The child's exit status (negative: the signal). Raises TimedOut when it is late.

    However this ends, by an exception out of a signal handler too, the child is dead or reaped.
    """
    until = time.monotonic() + deadline_s
    reaped = False
    try:
        while time.monotonic() < until:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                reaped = True
                return os.waitstatus_to_exitcode(status)
            time.sleep(POLL_S)
        raise TimedOut(f"wanted an end within {deadline_s:.1f} s, found it still running: killed")
    finally:
        if not reaped:
            kill(pid)


def kill(pid: int) -> None:
    """SIGKILL a child of ours and reap it; one that is stuck in the kernel is left to the shim."""
    os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + KILLED_WAIT_S
    while time.monotonic() < until:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return
        time.sleep(POLL_S)


def run(arguments: list[str], deadline_s: float) -> int:
    """Run a program to its end, its stdio on /dev/null; its exit status. Raises RuncError, TimedOut."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        return wait(spawn(arguments, (null, null, null), dict(os.environ)), deadline_s)
    finally:
        os.close(null)


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (proc_pid_stat(5), field 22); None: no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[19])
    except OSError:
        return None
