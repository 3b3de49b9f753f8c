"""Asking threads for Landlock leaves nothing in the container, above all no zombie that keeps its PID namespace."""

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from tests.preflight_made import running

from glowplug.host import proc, remote_calls, thread_probe
from glowplug.host.remote_calls import Thread

PR_SET_CHILD_SUBREAPER = 36
GETPPID = 110
ECHOES = """
import sys, threading
for _ in range(int(sys.argv[1])):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
for line in sys.stdin:
    print(line, end="", flush=True)
"""

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not thread_probe.can_call(), reason="not on this machine's CPU"),
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
def test_a_container_can_end_after_it_was_queried(container: int) -> None:
    assert thread_probe.ask(container, [container]) == []
    left = os.pidfd_open(container)
    try:
        os.kill(container, signal.SIGKILL)
        # Its first process ends when every other one of the namespace has been reaped.
        assert select.select([left], [], [], 60)[0], "it has not ended"
    finally:
        os.close(left)


def test_a_process_that_has_ended_is_left_out(container: int) -> None:
    """It keeps its number until it is reaped, and has no memory any more."""
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert thread_probe.ask(container, [ended.pid]) == []


@contextmanager
def echoing(threads: int) -> Iterator[subprocess.Popen[str]]:
    """A process with so many threads besides the first, that still does its work in the end."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", ECHOES, str(threads)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        for word in ("before\n", "after\n"):
            process.stdin.write(word)
            process.stdin.flush()
            assert process.stdout.readline() == word
            if word == "before\n":
                yield process
        process.stdin.close()
        assert process.wait() == 0


def test_a_thread_that_works_for_us_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """However late it is: it has registers that are not its own until it is let go."""
    with echoing(0) as process, Thread(process.pid) as thread:
        monkeypatch.setattr(remote_calls, "STOPS_WITHIN_S", -1.0)
        for _ in range(20):
            assert thread.call(GETPPID) == os.getpid()


@pytest.mark.parametrize("after_s", [0.02 * n for n in range(1, 16)])
def test_who_asks_is_cut_off_while_no_thread_works_for_it(
    after_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever that is: the process continues."""
    monkeypatch.setattr(thread_probe, "DONE_WITHIN_S", after_s)
    with echoing(200) as process, suppress(subprocess.TimeoutExpired):
        thread_probe.ask(process.pid, proc.tasks(process.pid))


def test_files_of_any_name_may_be_mapped(tmp_path: os.PathLike[str]) -> None:
    """One whose name is no UTF-8, and one that is called as the kernel's own code is, at a lower address."""
    program = (
        "import ctypes, mmap, os\n"
        f"os.chdir({os.fspath(tmp_path)!r})\n"
        "libc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p\n"
        "for at, name in enumerate((b'\\xff\\xfe', b'[vdso]', b'a [vdso]')):\n"
        "    fd = os.open(name, os.O_CREAT | os.O_RDWR); os.write(fd, bytes((15, 5)) * 2048)\n"
        "    assert libc.mmap(ctypes.c_void_p((16 << 20) + (at << 20)), ctypes.c_size_t(4096), 1, 0x100002, fd,"
        " ctypes.c_long(0)) == (16 << 20) + (at << 20)\n"
    )
    with running(program) as pid:
        assert remote_calls.instruction(pid) > 1 << 32
        with Thread(pid, remote_calls.instruction(pid)) as thread:
            assert thread.call(GETPPID) == os.getpid()


@pytest.mark.parametrize(("limit", "can"), [("RLIMIT_DATA", True), ("RLIMIT_AS", False)])
def test_a_process_whose_limits_leave_no_memory(limit: str, can: bool) -> None:
    """One that is at its limit of data is queried all the same; of one without any address left, one line says why."""
    program = f"import resource; resource.setrlimit(resource.{limit}, (1 << 20, 1 << 20))"
    with running(program) as pid:
        if can:
            assert thread_probe.ask(pid, [pid]) == []
            return
        with pytest.raises(OSError, match="leave it no page of memory") as raised:
            thread_probe.ask(pid, [pid])
        assert "\n" not in str(raised.value) and "Traceback" not in str(raised.value)
