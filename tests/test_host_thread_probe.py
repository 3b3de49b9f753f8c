"""Asking threads for Landlock leaves nothing in the container, above all no zombie that keeps its PID namespace."""

import ctypes
import os
import select
import signal
import subprocess
from collections.abc import Iterator

import pytest

from glowplug.host import proc, thread_probe

PR_SET_CHILD_SUBREAPER = 36

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not thread_probe.can_call(), reason="not on this machine's processor"),
]


@pytest.fixture
def reaper() -> Iterator[None]:
    """As who started the agent may be: orphans come to us, and are not waited for."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture
def container() -> Iterator[int]:
    """The first process of a PID namespace, by its number here."""
    command = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", "echo ready; sleep 600; :"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as outside:
        assert outside.stdout is not None
        outside.stdout.readline()
        (init,) = (
            pid
            for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
            if proc.parent(pid) == outside.pid
        )
        yield init
        outside.kill()


@pytest.mark.usefixtures("reaper")
def test_a_container_can_end_after_it_was_asked(container: int) -> None:
    assert thread_probe.ask(container, [container]) == []
    left = os.pidfd_open(container)
    try:
        os.kill(container, signal.SIGKILL)
        # Its first process ends when every other one of the namespace has been reaped.
        assert select.select([left], [], [], 10)[0], "it has not ended"
    finally:
        os.close(left)


def test_a_process_that_has_ended_is_left_out(container: int) -> None:
    """It keeps its number until it is reaped, and has no memory any more."""
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert thread_probe.ask(container, [ended.pid]) == []
