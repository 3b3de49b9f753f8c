"""Work that is killed at its n-th system call: a forked child does it, and sends itself SIGKILL there.

The calls are those that Python's audit events report; fsync and write are made to report too.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

BOUNDARIES = ("open", "os.", "fcntl.", "tempfile.")
FOREVER = 1 << 60  # more boundaries than there are: nobody dies


class DiesAt:
    """An audit hook that kills its process at the n-th boundary."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, event: str, _arguments: tuple[object, ...]) -> None:
        if event.startswith(BOUNDARIES):
            self.left -= 1  # first: the kill is an event too
            if self.left == -1:
                os.kill(os.getpid(), signal.SIGKILL)


def audited(call: Callable[..., object], event: str) -> Callable[..., object]:
    def reported(*arguments: object) -> object:
        sys.audit(event)
        return call(*arguments)

    return reported


def child(work: Callable[[], object], number: int) -> NoReturn:
    """Does the work in this process, which is a forked one, and dies at the n-th boundary."""
    status = 1
    try:
        os.fsync = audited(os.fsync, "os.fsync")  # type: ignore[assignment]
        os.write = audited(os.write, "os.write")  # type: ignore[assignment]
        sys.addaudithook(DiesAt(number))
        work()
        status = 0
    finally:  # never back into pytest, whatever was raised
        if status:
            traceback.print_exc()
        os._exit(status)


def dies(work: Callable[[], object], number: int) -> bool:
    """Whether the work was killed at its n-th boundary; False when it was done before."""
    pid = os.fork()
    if pid == 0:
        child(work, number)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False
