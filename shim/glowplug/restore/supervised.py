"""A restore in a process of its own, which may be killed at any moment: at its deadline by us.

Nothing is thrown into code that runs, no step has to be interruptible, and what the process has begun is taken back
by place (take_back.py), whatever its end was. Used by the runtime: standard library only.
"""

from __future__ import annotations

import os
import select
import time

from glowplug.host import process_life
from glowplug.restore import result
from glowplug.restore.result import Reporter, Result

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[[Reporter], int]

KILLED_WAIT_S = 5.0
FAILED = 1


class Failure:
    """`stage` and `detail` as an outcome has them."""

    __slots__ = ("detail", "stage")

    def __init__(self, stage: str, detail: str) -> None:
        self.stage = stage
        self.detail = detail


def run(work: Work, until: float) -> tuple[Result, Failure | None]:
    """Have `work` done in a child of ours; what it said, and why it failed, if it did.

    work: gets what it reports to; its return value is the child's exit status, 0 for success.
    until: time.monotonic() at which the child is killed. Raises OSError where there can be no child.
    """
    hear, say = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            process_life.die_with_parent(parent)
            os.close(hear)
            os._exit(work(Reporter(say)))
        finally:
            os._exit(FAILED)  # an exception that nobody caught
    os.close(say)
    try:
        late = not _wait(pid, until - time.monotonic())
        if late:
            os.kill(pid, process_life.SIGKILL)
            _wait(pid, KILLED_WAIT_S)  # one stuck in the kernel: the take-back waits for its lock
        reaped, status = os.waitpid(pid, os.WNOHANG)
        said = result.read(_read_all(hear))
    finally:
        os.close(hear)
    return said, _failure(said, late, os.waitstatus_to_exitcode(status) if reaped else None)


def _wait(pid: int, seconds: float) -> bool:
    """Whether a child of ours has ended within this time."""
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], max(0.0, seconds))[0])
    finally:
        os.close(descriptor)


def _read_all(fd: int) -> bytes:
    """What is there now: a helper of the child may still have the other end."""
    os.set_blocking(fd, False)
    text = b""
    try:
        while more := os.read(fd, 65536):
            text += more
    except BlockingIOError:
        pass
    return text


def _failure(said: Result, late: bool, status: int | None) -> Failure | None:
    if status == 0 and said.ended and not said.detail:
        return None
    if late:
        return Failure("deadline", f"the step {said.step} was not done when the time for a restore was over")
    if said.ended:
        return Failure(said.step, said.detail)
    if status is not None and status < 0:
        return Failure("killed", f"signal {-status} ended the restore in its step {said.step}")
    return Failure(said.step or "killed", f"the restore ended with status {status} and gave no reason")
