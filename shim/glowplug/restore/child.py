"""Programs that a restore runs: children that die with it, within a deadline, with the descriptors it says.

The process that restores may be killed at any moment. PR_SET_PDEATHSIG makes the kernel kill runc too, so that no
restore continues that nobody will ever see; CRIU then loses its connection to runc and ends.
"""

from __future__ import annotations

import os
import time

from glowplug.errors import RuncError
from glowplug.host import process, process_life
from glowplug.restore import attempt

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

POLL_S = 0.002
KILLED_WAIT_S = 5.0
LOOK_S = 0.1
BEREFT_S = 2.5


class TimedOut(RuncError):
    """A child was killed because its time was over."""


class Bereft(RuncError):
    """A child was killed because a process that it waits for had died.

    When CRIU is killed, the tasks that it forked have its end of the connection to runc, which sees no end of it.
    An orderly runc ends within milliseconds of its CRIU; one that a slow disk or a busy node delays still works, and
    is left alone.
    """


def run(
    arguments: list[str],
    deadline_s: float,
    stdio: tuple[int, int, int] | None = None,
    env: dict[str, str] | None = None,
    meanwhile: Callable[[Callable[[], bool]], None] | None = None,
    record: str = "",
    any_cpu: bool = False,
    helper_log: str = "",
) -> int:
    """Run a program to its end, in this working directory; its exit status (negative: the signal).

    `stdio`: the child's first three descriptors, by default /dev/null. `meanwhile`: called once while the
    program runs, with a function that says whether it has ended. `record`: where its number is written down before
    the program begins, for `attempt.read_process`. `any_cpu`: it may run on every CPU of its cpuset, whatever the
    affinity of our caller. `helper_log`: a file that the program's own child makes as it begins, for Bereft. However
    this ends, the child is dead or reaped. Raises RuncError when there is no such program, TimedOut when it is late.
    Call it from the main thread: the kernel ties the death signal to the thread that forked.
    """
    if "/" in arguments[0] and not os.access(arguments[0], os.X_OK):
        raise RuncError(f"the program {arguments[0]} is not there or can't be run: install it")
    until = time.monotonic() + deadline_s
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    parent, pid = os.getpid(), 0
    try:
        pid = os.fork()
        if pid == 0:
            own = os.environ if env is None else env
            _become(arguments, stdio or (null, null, null), own, record, any_cpu, parent)
        watch = _Watch(pid, helper_log)
        if meanwhile is not None:
            meanwhile(watch.is_over)
        status = _wait(watch, until)
        pid = 0
        return status
    finally:
        os.close(null)
        if pid:
            kill(pid)


def _become(
    arguments: list[str],
    stdio: tuple[int, int, int],
    env: Mapping[str, str],
    record: str,
    any_cpu: bool,
    parent: int,
) -> NoReturn:
    """In the child: run the program."""
    try:
        process_life.die_with_parent(parent)
        if record:
            attempt.note_process(record)
        if any_cpu:
            run_anywhere()
        moved = [os.dup(fd) for fd in stdio]
        for target, fd in enumerate(moved):
            os.dup2(fd, target)
        os.closerange(3, 256)
        os.execvpe(arguments[0], arguments, env)
    finally:
        os._exit(127)


def run_anywhere() -> None:
    """Every CPU of the cpuset, as runc gives them to a container that it creates (tryResetCPUAffinity): restored
    processes inherit what runc has, and CRIU restores no affinity (checkpoint-restore/criu#1298)."""
    try:
        os.sched_setaffinity(0, range(os.sysconf("SC_NPROCESSORS_CONF")))
    except OSError:
        return


class _Watch:
    """A child of ours, looked at from time to time."""

    __slots__ = ("_bereft", "_did", "_had", "_look", "_trace", "pid")

    def __init__(self, pid: int, trace: str = "") -> None:
        """trace: a file that its child makes, which may come and go between two looks."""
        self.pid = pid
        self._trace = trace
        self._bereft = self._look = time.monotonic()
        self._had = False
        self._did = 0

    def is_over(self) -> bool:
        """Whether it has ended; it is not reaped. Raises Bereft."""
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return True
        now = time.monotonic()
        if now > self._look:
            self._look = now + LOOK_S
            helped = process.has_helper(self.pid)
            self._had = self._had or helped or (self._trace != "" and os.path.exists(self._trace))
            did, waits = process.activity(self.pid)
            if helped or not self._had or did != self._did or not waits:
                self._bereft, self._did = now, did
            elif now > self._bereft + BEREFT_S:
                raise Bereft(f"it still waits for a child of its own that was killed {BEREFT_S:g} s ago")
        return False


def _wait(watch: _Watch, until: float) -> int:
    began = time.monotonic()
    while not watch.is_over():
        if time.monotonic() > until:
            raise TimedOut(f"it did not end within {until - began:.1f} s, and was killed")
        time.sleep(POLL_S)
    return os.waitstatus_to_exitcode(os.waitpid(watch.pid, 0)[1])


def kill(pid: int) -> None:
    """SIGKILL a child of ours with its descendants, and reap it; one stuck in the kernel is left to the shim.

    CRIU ends when runc does, unless it hangs; and it is not always in the container's cgroup yet.
    """
    until = time.monotonic() + KILLED_WAIT_S
    try:
        os.kill(pid, process_life.SIGSTOP)
        below = process.tree(pid)[1:]
        os.kill(pid, process_life.SIGKILL)
        for one in below:
            _kill_if_there(one)
        while not os.waitpid(pid, os.WNOHANG)[0] and time.monotonic() < until:
            time.sleep(POLL_S)
    except (ProcessLookupError, ChildProcessError):
        return  # reaped a moment ago


def _kill_if_there(pid: int) -> None:
    try:
        os.kill(pid, process_life.SIGKILL)
    except ProcessLookupError:
        return
