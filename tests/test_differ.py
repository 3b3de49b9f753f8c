"""integration/differ sees what changes in a process, and says nothing where nothing does."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from integration import differ
from integration.differ.known import Known

CHILD = """
import ctypes, fcntl, mmap, os, signal, socket, sys, tempfile, threading
log = tempfile.TemporaryFile("w")
pipe = os.pipe()
listener = socket.create_server(("127.0.0.1", 0), backlog=100)
unix = socket.socket(socket.AF_UNIX)
memory = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
threading.Thread(target=threading.Event().wait, daemon=True).start()
for line in sys.stdin:
    exec(line)
    print(flush=True)
"""
# What the child does → what a line of the difference has in it.
CHANGES = {
    "os.umask(0o77)": "status/Umask: was 0022, is 0077",
    "os.nice(3)": "scheduling",
    "os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})": "affinity: was all, is [",
    "os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))": "scheduling",
    "signal.signal(signal.SIGUSR1, signal.SIG_IGN)": "status/SigIgn",
    "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])": "SigBlk",
    "os.chdir('/usr')": "cwd: was /, is /usr",
    "open('/proc/self/coredump_filter', 'w').write('0x11')": "coredump_filter",
    "open('/proc/self/timerslack_ns', 'w').write('70000')": "timer-slack: was 50000, is 70000",
    "os.set_inheritable(pipe[0], True)": "/flags",
    "fcntl.fcntl(pipe[1], 1031, 1 << 12)": "pipe-size",
    "os.write(pipe[1], b'12345')": "unread: was 0, is 5",
    "os.dup2(pipe[0], 99)": "fd/99 is new",
    "os.close(pipe[0])": "is gone: pipe of",
    "log.write('x'); log.flush(); fcntl.lockf(log, fcntl.LOCK_EX)": "lock: was nothing, is POSIX ADVISORY WRITE",
    "listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 7)": "options/TCP-9",
    "listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)": "options/SOCKET-9: was 00000000, is 01000000",
    "listener.listen(7)": "backlog: was 100, is 7",
    "unix.bind('\\0zoo-' + str(os.getpid()))": "/name",
    "memory.madvise(mmap.MADV_DONTFORK)": "memory/",
    "os.setpgid(0, 0)": "stat/group",
    "ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)": "/own: was nothing, is ",
    "ctypes.CDLL(None).prctl(33, 1, 1, 0, 0)": "'mce-kill': 1",
}


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        umask=0o22,
        process_group=None,
    ) as started:
        do(started, "pass")
        yield started
        started.kill()


def do(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdin and child.stdout
    child.stdin.write(f"{line}\n")
    child.stdin.flush()
    assert child.stdout.readline() == "\n"


def facts(pid: int) -> differ.Facts:
    """Without the mounts, which are this machine's here and come and go."""
    return {field: value for field, value in differ.of(pid).items() if "/mounts/" not in field}


@pytest.mark.parametrize(("change", "said"), CHANGES.items())
def test_a_change_is_seen(child: subprocess.Popen[str], change: str, said: str) -> None:
    before = facts(child.pid)
    do(child, "pass")
    assert differ.at_rest(before, lambda: facts(child.pid), 3) == []
    do(child, change)
    found = differ.differences(before, facts(child.pid))
    assert any(said in line for line in found), found


# In an IPC namespace of its own, with one object of each kind, all of the same key.
IPC = """
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
assert libc.unshare(0x08000000) == 0
sem, shm, msg = libc.semget(0, 2, 0o1600), libc.shmget(0, 4096, 0o1600), libc.msgget(0, 0o1600)
other = libc.semget(0, 2, 0o1600)
address = libc.shmat(shm, None, 0)
libc.msgsnd(msg, b"\\1" + bytes(7) + b"text", ctypes.c_size_t(4), 0)
"""
CHANGES = {
    "libc.semctl(sem, 1, 16, 3)": "holds: was 0 0, is 0 3",
    "ctypes.memmove(address, b'other', 5)": "holds: was ",
    "libc.msgrcv(msg, ctypes.create_string_buffer(64), ctypes.c_size_t(8), ctypes.c_long(0), 0), "
    "libc.msgsnd(msg, b'\\1' + bytes(7) + b'TEXT', ctypes.c_size_t(4), 0)": "holds: was 1:4:",
    "libc.semctl(other, 0, 0)": "is nothing",
}


@pytest.mark.skipif(os.geteuid() != 0, reason="makes an IPC namespace")
@pytest.mark.parametrize(("change", "said"), CHANGES.items())
def test_what_an_object_of_ipc_holds(child: subprocess.Popen[str], change: str, said: str) -> None:
    do(child, f"exec({IPC!r})")
    before = facts(child.pid)
    assert differ.at_rest(before, lambda: facts(child.pid), 3) == []
    do(child, change)
    found = differ.differences(before, facts(child.pid))
    assert found and all(line.startswith("ipc/") for line in found) and any(said in line for line in found), (
        found
    )


def test_values_of_the_environment_are_not_in_it() -> None:
    started = subprocess.Popen(["sleep", "60"], env={"TOKEN": "secret-value"})
    try:
        facts = differ.of(started.pid)
    finally:
        started.kill()
        started.wait()
    assert "secret-value" not in str(facts)


def test_a_process_that_is_gone_is_one_line() -> None:
    before = {"1/comm": "init", "7/comm": "worker", "7/cmdline": "work", "7/fd/3/target": "/dev/null"}
    assert differ.differences(before, {"1/comm": "init"}) == ["7 is gone: worker"]
    assert differ.differences({"1/comm": "init"}, before) == ["7 is new: worker"]


def test_what_is_known_depends_on_the_values() -> None:
    known = [Known(r"/fd/\d+/name$", "renamed", r"^/.* → /")]
    assert differ.differences({"1/fd/3/name": "/a.1"}, {"1/fd/3/name": "/a"}, known) == []
    assert differ.differences({"1/fd/3/name": "/a"}, {"1/fd/3/name": ""}, known) == [
        "1/fd/3/name: was /a, is "
    ]


def test_a_thread_more_is_none_but_one_less_is() -> None:
    before = {"1/comm": "go", "1/thread/1/comm": "go", "1/thread/5/comm": "go"}
    assert differ.differences(before, before | {"1/thread/9/comm": "go", "1/thread/9/SigBlk": "1"}) == []
    assert differ.differences(before, {"1/comm": "go", "1/thread/1/comm": "go"}) == ["1/thread/5 is gone: go"]


def test_a_connection_to_the_outside_comes_back_closed_but_none_inside_does() -> None:
    inside = {"1/comm": "a", "1/fd/3/state": "1", "1/fd/3/peer": "('::1', 8)", "1/fd/4/name": "('::1', 8)"}
    outside = {
        "1/comm": "a",
        "1/fd/3/state": "1",
        "1/fd/3/peer": "('10.0.0.9', 8)",
        "1/fd/4/name": "('::1', 8)",
    }
    closed = {"1/comm": "a", "1/fd/3/state": "7", "1/fd/4/name": "('::1', 8)"}
    assert differ.differences(outside, closed) == []
    assert "1/fd/3/state: was 1, is 7" in differ.differences(inside, closed)
