"""Programs that the runtime runs: children that die with it, within a deadline, with the descriptors it says.

The runtime may be killed at any moment (containerd's deadline). PR_SET_PDEATHSIG makes the kernel kill runc
too, so that no restore goes on that nobody will ever see; CRIU then loses its connection to runc and ends.
"""

import contextlib
import ctypes
import os
import signal
import time

from glowplug.errors import RuncError
from glowplug.host import process

PR_SET_PDEATHSIG = 1
POLL_S = 0.002
KILLED_WAIT_S = 5.0
LOOK_S = 0.1
BEREFT_S = 1.0

_libc = ctypes.CDLL(None, use_errno=True)


class TimedOut(RuncError):
    """A child was killed because its time was over."""


class Bereft(RuncError):
    """A child was killed because a process that it waits for had died.

    When CRIU is killed, the tasks that it forked hold its end of the connection to runc, which sees no end of it.
    """


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies (prctl(2)), also when it died just now."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def run(
    arguments: list[str],
    deadline_s: float,
    stdio: tuple[int, int, int] | None = None,
    env: dict[str, str] | None = None,
) -> int:
    """Run a program to its end, in this working directory; its exit status (negative: the signal).

    `stdio`: the child's first three descriptors, by default /dev/null. However this ends, by an exception out of
    a signal handler too, the child is dead or reaped. Raises RuncError when there is no such program, TimedOut
    when it is late. Call it from the main thread: the kernel ties the death signal to the thread that forked.
    """
    if "/" in arguments[0] and not os.access(arguments[0], os.X_OK):
        raise RuncError(f"wanted the program {arguments[0]}, found none that can be run: install it")
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    # No alarm between the fork and the code that would kill the child.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    pid = 0
    try:
        pid = _spawn(arguments, stdio or (null, null, null), dict(os.environ) if env is None else env)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        status = _wait(pid, deadline_s)
        pid = 0
        return status
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        os.close(null)
        if pid:
            kill(pid)


def _spawn(arguments: list[str], stdio: tuple[int, int, int], env: dict[str, str]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        die_with_parent(parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        moved = [os.dup(fd) for fd in stdio]
        for target, fd in enumerate(moved):
            os.dup2(fd, target)
        os.closerange(3, 256)
        os.execvpe(arguments[0], arguments, env)
    finally:
        os._exit(127)


def _wait(pid: int, deadline_s: float) -> int:
    now = bereft = look = time.monotonic()
    until = now + deadline_s
    while now < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(POLL_S)
        now = time.monotonic()
        if now > look:
            look = now + LOOK_S
            if not process.has_zombie(pid):
                bereft = now
            elif now > bereft + BEREFT_S:
                raise Bereft(f"its own child was killed {BEREFT_S:g} s ago and it waits on")
    raise TimedOut(f"wanted an end within {deadline_s:.1f} s, found it still running: killed")


def kill(pid: int) -> None:
    """SIGKILL a child of ours and reap it; one that is stuck in the kernel is left to the shim."""
    until = time.monotonic() + KILLED_WAIT_S
    with contextlib.suppress(ProcessLookupError, ChildProcessError):  # reaped a moment ago
        os.kill(pid, signal.SIGKILL)
        while not os.waitpid(pid, os.WNOHANG)[0] and time.monotonic() < until:
            time.sleep(POLL_S)
