"""Programs that the runtime runs: children that die with it, within a deadline, with the descriptors it says.

The runtime may be killed at any moment (containerd's deadline). PR_SET_PDEATHSIG makes the kernel kill runc
too, so that no restore goes on that nobody will ever see; CRIU then loses its connection to runc and ends.
"""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable

from glowplug.errors import RuncError
from glowplug.host import process

PR_SET_PDEATHSIG = 1
POLL_S = 0.002
KILLED_WAIT_S = 5.0
LOOK_S = 0.1
BEREFT_S = 2.5

_libc = ctypes.CDLL(None, use_errno=True)


class TimedOut(RuncError):
    """A child was killed because its time was over."""


class Bereft(RuncError):
    """A child was killed because a process that it waits for had died.

    When CRIU is killed, the tasks that it forked hold its end of the connection to runc, which sees no end of it.
    An orderly runc ends within milliseconds of its CRIU.
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
    meanwhile: Callable[[Callable[[], bool]], None] | None = None,
) -> int:
    """Run a program to its end, in this working directory; its exit status (negative: the signal).

    `stdio`: the child's first three descriptors, by default /dev/null. `meanwhile`: called once while the
    program runs, with a function that says whether it has ended. However this ends, by an exception out of
    a signal handler too, the child is dead or reaped. Raises RuncError when there is no such program, TimedOut
    when it is late. Call it from the main thread: the kernel ties the death signal to the thread that forked.
    """
    if "/" in arguments[0] and not os.access(arguments[0], os.X_OK):
        raise RuncError(f"wanted the program {arguments[0]}, found none that can be run: install it")
    until = time.monotonic() + deadline_s
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    # No alarm between the fork and the code that would kill the child.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    pid = 0
    try:
        pid = _spawn(arguments, stdio or (null, null, null), dict(os.environ) if env is None else env)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        watch = _Watch(pid)
        if meanwhile is not None:
            meanwhile(watch.is_over)
        status = _wait(watch, until)
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


class _Watch:
    """A child of ours, looked at from time to time."""

    __slots__ = ("_bereft", "_had", "_look", "pid")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._bereft = self._look = time.monotonic()
        self._had = False

    def is_over(self) -> bool:
        """Whether it has ended; it is not reaped. Raises Bereft."""
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return True
        now = time.monotonic()
        if now > self._look:
            self._look = now + LOOK_S
            helped = process.has_helper(self.pid)
            self._had = self._had or helped
            if helped or not self._had:
                self._bereft = now
            elif now > self._bereft + BEREFT_S:
                raise Bereft(f"its own child was killed {BEREFT_S:g} s ago and it waits on")
        return False


def _wait(watch: _Watch, until: float) -> int:
    began = time.monotonic()
    while not watch.is_over():
        if time.monotonic() > until:
            raise TimedOut(f"wanted an end within {until - began:.1f} s, found it still running: killed")
        time.sleep(POLL_S)
    return os.waitstatus_to_exitcode(os.waitpid(watch.pid, 0)[1])


def kill(pid: int) -> None:
    """SIGKILL a child of ours with its descendants, and reap it; one stuck in the kernel is left to the shim.

    CRIU ends when runc does, unless it hangs; and it is not always in the container's cgroup yet.
    """
    until = time.monotonic() + KILLED_WAIT_S
    with contextlib.suppress(ProcessLookupError, ChildProcessError):  # reaped a moment ago
        os.kill(pid, signal.SIGSTOP)
        below = process.tree(pid)[1:]
        os.kill(pid, signal.SIGKILL)
        for one in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        while not os.waitpid(pid, os.WNOHANG)[0] and time.monotonic() < until:
            time.sleep(POLL_S)
