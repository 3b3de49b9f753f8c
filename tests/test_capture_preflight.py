"""What can't be kept is seen in the running processes, reported with what to do; what can be is let through."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from tests.preflight_made import libc, needs_root, only, running, tree

from glowplug.capture import unix_names
from glowplug.capture.preflight import (
    closing,
    files,
    memory,
    messages,
    processes,
    require,
    sockets,
)
from glowplug.errors import CaptureRefused
from glowplug.host import process


def test_a_plain_process_is_let_through() -> None:
    with running("import socket; s = socket.create_server(('127.0.0.1', 0)); f = open('/etc/passwd')") as pid:
        require.require(tree(pid))


def test_a_traced_process_is_reported_with_its_tracer() -> None:
    pid = os.fork()
    if pid == 0:
        libc.ptrace(0, 0, 0, 0)  # PTRACE_TRACEME
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    try:
        os.waitpid(pid, os.WUNTRACED)
        said = only(processes.traced(tree(pid)))
        assert said.slug == "traced" and f"process {pid}" in said.sentence
        assert f"traced by process {os.getpid()}" in said.sentence
        with pytest.raises(CaptureRefused, match="can't be captured"):
            require.require(tree(pid))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_parent_in_vfork_is_waited_for_and_reported() -> None:
    pid = os.fork()
    if pid == 0:
        if libc.vfork() == 0:  # shares our memory; its parent is stopped until it is killed
            signal.pause()
        os._exit(0)
    try:
        until = time.monotonic() + 60
        while not processes._is_deaf(pid) and time.monotonic() < until:
            time.sleep(0.01)
        said = only(processes.stuck(tree(pid)))
        assert said.slug == "in-vfork" and f"process {pid}" in said.sentence
    finally:
        with open(f"/proc/{pid}/task/{pid}/children") as listed:
            for child in listed.read().split():
                os.kill(int(child), signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.parametrize(
    ("sent", "blocks", "slugs"),
    [
        (signal.SIGUSR1, "", ["stopped-with-signal"]),
        (signal.SIGUSR1, "signal.pthread_sigmask(0, [10])", []),
        (None, "", []),
    ],
)
def test_a_stopped_process_with_a_signal(sent: signal.Signals | None, blocks: str, slugs: list[str]) -> None:
    with running(f"import signal; signal.signal(10, lambda *_: None); {blocks}") as pid:
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
        if sent:
            os.kill(pid, sent)
        assert [one.slug for one in processes.stopped(tree(pid))] == slugs


UNSHARE = """
import ctypes, os, threading
libc = ctypes.CDLL(None)
ready = threading.Event()
def work():
    assert libc.unshare({}) == 0
    ready.set()
    threading.Event().wait()
threading.Thread(target=work, daemon=True).start()
ready.wait()
"""


@needs_root
@pytest.mark.parametrize(
    ("flags", "what"), [("0x200", "working directory"), ("0x400", "open files"), ("0x4000000", "a namespace")]
)
def test_a_thread_that_does_not_share_all(flags: str, what: str) -> None:
    with running(UNSHARE.format(flags)) as pid:
        refusal = only(processes.unshared_threads(tree(pid)))
    assert refusal.slug == "thread-unshared" and what in refusal.sentence
    with running(UNSHARE.format("0x40000")) as pid:  # what SEM_UNDO undoes
        assert list(processes.unshared_threads(tree(pid))) == []


LEADERLESS = """
import ctypes, os, threading, time
libc = ctypes.CDLL(None)
child = os.fork()
if child == 0:
    threading.Thread(target=time.sleep, args=(600,)).start()
    libc.syscall(60, 0)
until = time.monotonic() + 60
while open(f"/proc/{child}/stat").read().rpartition(")")[2].split()[0] != "Z":
    assert time.monotonic() < until
"""


def test_a_process_whose_first_thread_has_ended() -> None:
    with running(LEADERLESS) as pid:
        try:
            assert only(processes.leaderless(tree(pid))).slug == "first-thread-ended"
        finally:
            for child in process.tree(pid)[1:]:
                os.kill(child, signal.SIGKILL)
    with running("import os\nif os.fork() == 0: os._exit(0)") as pid:
        assert list(processes.leaderless(tree(pid))) == []


CONNECTED = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
"""


@needs_root
def test_a_connection_that_nobody_has_accepted() -> None:
    with running(CONNECTED) as pid:
        assert only(closing.connections(tree(pid))).slug == "unaccepted-connection"
    with running(f"{CONNECTED}\nserver = listener.accept()[0]\nclient.send(b'x')") as pid:
        assert list(closing.connections(tree(pid))) == []


@needs_root
@pytest.mark.parametrize(("reads", "slugs"), [("", ["urgent-data"]), ("server.recv(1, socket.MSG_OOB)", [])])
def test_urgent_data_that_nobody_has_read(reads: str, slugs: list[str]) -> None:
    sent = "server = listener.accept()[0]\nclient.send(b'!', socket.MSG_OOB)\nimport select\n"
    with running(f"{CONNECTED}\n{sent}select.select([], [], [server], 10)\n{reads}") as pid:
        assert [one.slug for one in closing.urgent(tree(pid))] == slugs


def test_a_program_from_memory() -> None:
    fd = os.memfd_create("tool", 0)
    with open("/bin/sleep", "rb") as file:
        os.write(fd, file.read())
    with subprocess.Popen(["sleep", "600"], executable=f"/proc/{os.getpid()}/fd/{fd}") as made:
        try:
            said = only(memory.programs(tree(made.pid)))
            assert said.slug == "memfd-program" and "memfd:tool" in said.sentence
        finally:
            made.kill()
            os.close(fd)


@needs_root
@pytest.mark.parametrize(
    ("made", "slug", "words"),
    [
        ("socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)", "mptcp", "GODEBUG=multipathtcp=0"),
        ("socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 262)", "mptcp", "glowplug.dev/mptcp"),
        ("socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1)", "ping-socket", "ICMP"),
        ("socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)", "socket-kind", "AF_ALG"),
        ("socket.socket(socket.AF_INET, socket.SOCK_SEQPACKET, 132)", "socket-kind", "SCTP"),
    ],
)
def test_a_socket_of_another_kind(made: str, slug: str, words: str) -> None:
    try:
        eval(made).close()
    except OSError as error:
        pytest.skip(f"not in this kernel: {error}")
    with running(f"import socket; s = {made}") as pid:
        said = only(sockets.unsupported(tree(pid)))
        assert said.slug == slug and words in said.sentence and f"process {pid}" in said.sentence


@needs_root
def test_an_mptcp_listener_is_reported_by_its_port() -> None:
    listener = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262); "
        "s.bind(('127.0.0.1', 0)); s.listen(); print(s.getsockname()[1], end='')"
    )
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).close()
    except OSError:
        pytest.skip("no MPTCP in this kernel")
    command = [sys.executable, "-c", f"{listener}\nprint(flush=True)\nimport time; time.sleep(600)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as made:
        assert made.stdout
        port = int(made.stdout.readline())
        assert f"on port {port}," in only(sockets.unsupported(tree(made.pid))).sentence
        made.kill()


def test_a_large_removed_file(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        f"import os; f = open('{tmp_path}/gone', 'wb'); f.write(bytes(1 << 20)); f.flush(); os.unlink(f.name)"
    )
    with running(program) as pid:
        assert not list(files.large_removed(tree(pid)))
        monkeypatch.setattr(files, "GHOST_LIMIT", 1 << 19)
        said = only(files.large_removed(tree(pid)))
        assert said.slug == "large-removed-file" and "/gone of 1 MiB" in said.sentence


@needs_root
@pytest.mark.parametrize(
    ("then", "now", "others"),
    [
        ("", {}, []),
        ("os.rename('a', 'b')", {"b"}, []),
        ("os.link('a', 'b'); os.unlink('a')", {"b"}, []),
        ("os.mkdir('d'); os.rename('a', 'd/c')", {"d/c"}, []),
        ("os.link('a', 'b')", {}, [("a", "b")]),
        ("os.unlink('a')", {}, []),
        ("os.chdir('/')", {}, []),
    ],
)
@pytest.mark.parametrize("name", ["a", "{here}/a"], ids=["relative", "absolute"])
def test_the_name_of_a_unix_socket(
    tmp_path: object, then: str, now: set[str], others: list[tuple[str, str]], name: str
) -> None:
    bind = f"s = socket.socket(socket.AF_UNIX); s.bind('{name.format(here=tmp_path)}'); s.listen()"
    with running(f"import os, socket; os.chdir('{tmp_path}'); {bind}; {then}") as pid:
        found = unix_names.find([pid], "/")
        if found.relative:
            assert name == "a" and "rename" in then and found.relative == [(pid, "a")]
            return
        assert set(found.now.values()) == {f"{tmp_path}/{one}" for one in now}
        assert found.others == [(f"{tmp_path}/{one}", f"{tmp_path}/{other}") for one, other in others]
        assert not found.lost


@needs_root
def test_a_name_that_is_not_found_is_lost(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    made = (
        f"s = socket.socket(socket.AF_UNIX); s.bind('{tmp_path}/a'); os.link('{tmp_path}/a', '{tmp_path}/b')"
    )
    with running(f"import os, socket; {made}; os.unlink('{tmp_path}/a')") as pid:
        monkeypatch.setattr(unix_names, "open_beneath", lambda *_: os.open("/nowhere", os.O_RDONLY))
        assert unix_names.find([pid], "/").lost == [(pid, f"{tmp_path}/a")]


@needs_root
@pytest.mark.parametrize(("reads", "slugs"), [("", ["netlink-data"]), ("one.recv(65536)", [])])
def test_a_netlink_message_that_nobody_has_read(reads: str, slugs: list[str]) -> None:
    """The answer to a request."""
    program = (
        "import socket, struct\n"
        "one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)\n"
        "one.send(struct.pack('=IHHIIBxHiII', 32, 18, 0x1, 1, 0, 0, 0, 1, 0, 0))\n"
        f"import select; select.select([one], [], [])\n{reads}"
    )
    with running(program) as pid:
        assert [one.slug for one in messages.unread(tree(pid))] == slugs
    assert "netlink-data" in require.MOMENTARY
