"""What can't be kept is seen in the running processes, named with what to do; what can be is let through."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from glowplug.capture import unix_names
from glowplug.capture.preflight import files, memory, messages, own_settings, processes, require, sockets
from glowplug.capture.preflight.tree import Refusal, Tree
from glowplug.errors import CaptureRefused
from glowplug.host import landlock_probe, proc, thread_probe

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="copies descriptors of other processes")

libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def running(program: str) -> Iterator[int]:
    """A Python program that has printed a line, and then waits."""
    command = [sys.executable, "-c", f"{program}\nprint(flush=True)\nimport time; time.sleep(600)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as made:
        try:
            assert made.stdout and made.stdout.readline() == b"\n"
            yield made.pid
        finally:
            made.kill()


def tree(*pids: int) -> Tree:
    return Tree(list(pids), "/")


def only(found: Iterator[Refusal]) -> Refusal:
    (one,) = found
    return one


def test_a_plain_process_is_let_through() -> None:
    with running("import socket; s = socket.create_server(('127.0.0.1', 0)); f = open('/etc/passwd')") as pid:
        require.require(tree(pid))


def test_a_traced_process_is_named_with_its_tracer() -> None:
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


def test_a_parent_in_vfork_is_waited_for_and_named() -> None:
    pid = os.fork()
    if pid == 0:
        if libc.vfork() == 0:  # shares our memory; its parent is stopped until it is killed
            signal.pause()
        os._exit(0)
    try:
        until = time.monotonic() + 10
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


MAPPED = """
import ctypes, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
address = ctypes.c_void_p(libc.mmap(None, ctypes.c_size_t(4096), 3, 0x22, -1, ctypes.c_long(0)))
page = ctypes.c_size_t(4096)
def none(failed):
    if failed:
        print("none", flush=True)
        os._exit(0)
"""
SECRET = "fd = libc.syscall(447, 0); none(fd < 0); os.ftruncate(fd, 4096); m = mmap.mmap(fd, 4096)"
# Asked for its API (UFFDIO_API), and given the page (UFFDIO_REGISTER).
FAULTS = """
import fcntl, struct
fd = libc.syscall(323, 1)
none(fd < 0)
fcntl.ioctl(fd, 0xC018AA3F, struct.pack("QQQ", 0xAA, 0, 0))
fcntl.ioctl(fd, 0xC020AA00, struct.pack("QQQQ", address.value, 4096, 1, 0))
os.close(os.dup(fd))
"""


@needs_root
@pytest.mark.parametrize(
    ("does", "slug"),
    [
        ("none(libc.syscall(462, address, page, 0))", "sealed-memory"),
        (
            "key = libc.pkey_alloc(0, 0); none(key < 0); libc.pkey_mprotect(address, page, 3, key)",
            "protection-keys",
        ),
        (SECRET, "secret-memory"),
        (FAULTS, "userfaultfd"),
    ],
)
def test_memory_that_is_not_like_any_other(does: str, slug: str) -> None:
    program = f"{MAPPED}\n{does}\nprint(flush=True)\nos.read(0, 1)"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as made:
        assert made.stdout
        if made.stdout.readline() != b"\n":
            pytest.skip("not in this kernel or processor")
        try:
            assert only(memory.special(tree(made.pid))).slug == slug
        finally:
            made.kill()


@needs_root
@pytest.mark.parametrize(
    ("does", "what"),
    [
        ("fd = libc.syscall(323, 1)", "page faults"),
        ("fd = libc.syscall(444, ctypes.byref(ctypes.c_uint64(2)), 8, 0)", "a Landlock ruleset"),
        ("fd = libc.syscall(430, b'tmpfs', 0)", "being mounted"),
        ("fd = os.open('/dev/fuse', os.O_RDWR)", "the device /dev/fuse"),
        (
            "fd = libc.syscall(298, b'\\1' + bytes(3) + b'\\x70' + bytes(107), 0, -1, -1, 0)",
            "perf_event_open",
        ),
    ],
)
def test_an_object_of_the_kernel_s(does: str, what: str) -> None:
    program = (
        f"import ctypes, os\nlibc = ctypes.CDLL(None)\nfd = -1\ntry:\n    {does}\nexcept OSError: pass\n"
    )
    program += "print('none' if fd < 0 else '', flush=True)\nos.read(0, 1)"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as made:
        assert made.stdout
        if made.stdout.readline() != b"\n":
            pytest.skip("not in this kernel")
        try:
            assert what in only(files.kernel_objects(tree(made.pid))).sentence
        finally:
            made.kill()


@needs_root
def test_what_can_be_dumped_of_the_kernel_s_is_let_through() -> None:
    program = (
        "import ctypes, os, select\nlibc = ctypes.CDLL(None)\n"
        "kept = [select.epoll(), libc.eventfd(0, 0), libc.timerfd_create(1, 0), libc.inotify_init1(0),\n"
        "        os.pidfd_open(os.getpid()), os.open('/dev/null', os.O_RDWR), os.open('/dev/urandom', os.O_RDONLY)]"
    )
    with running(program) as pid:
        assert list(files.kernel_objects(tree(pid))) == []


APART = """
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
    with running(APART.format(flags)) as pid:
        refusal = only(processes.apart(tree(pid)))
    assert refusal.slug == "thread-apart" and what in refusal.sentence
    with running(APART.format("0x40000")) as pid:  # what SEM_UNDO undoes
        assert list(processes.apart(tree(pid))) == []


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
    ("made", "slug", "named"),
    [
        ("socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)", "mptcp", "GODEBUG=multipathtcp=0"),
        ("socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 262)", "mptcp", "glowplug.dev/mptcp"),
        ("socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1)", "ping-socket", "ICMP"),
        ("socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)", "socket-kind", "AF_ALG"),
        ("socket.socket(socket.AF_INET, socket.SOCK_SEQPACKET, 132)", "socket-kind", "SCTP"),
    ],
)
def test_a_socket_of_another_kind(made: str, slug: str, named: str) -> None:
    try:
        eval(made).close()
    except OSError as error:
        pytest.skip(f"not in this kernel: {error}")
    with running(f"import socket; s = {made}") as pid:
        said = only(sockets.unsupported(tree(pid)))
        assert said.slug == slug and named in said.sentence and f"process {pid}" in said.sentence


@needs_root
def test_an_mptcp_listener_is_named_by_its_port() -> None:
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


LANDLOCK = """
import ctypes, os, threading
libc = ctypes.CDLL(None)
def restrict():
    rules = libc.syscall(444, ctypes.byref(ctypes.c_uint64(2)), 8, 0)
    libc.prctl(38, 1, 0, 0, 0)
    assert libc.syscall(446, rules, 0) == 0
ready = threading.Event()
def work(first):
    first()
    ready.set()
    threading.Event().wait()
"""
NO_NEW_PRIVILEGES = "libc.prctl(38, 1, 0, 0, 0)"
IN_A_THREAD = "threading.Thread(target=work, args=(restrict,), daemon=True).start(); ready.wait()"
needs_ptrace = pytest.mark.skipif(
    os.geteuid() != 0 or not thread_probe.can_call(),
    reason="wants root on a processor whose registers are known",
)
needs_landlock = pytest.mark.skipif(
    os.geteuid() != 0 or not landlock_probe.is_on() or not thread_probe.can_call(),
    reason="wants a kernel with Landlock",
)


@needs_landlock
@pytest.mark.parametrize(
    ("does", "restricts"),
    [
        (NO_NEW_PRIVILEGES, False),
        ("restrict()", True),
        (IN_A_THREAD, True),
        (f"{NO_NEW_PRIVILEGES}; os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000)", False),
        ("os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000); restrict()", True),
    ],
)
def test_rights_that_were_given_up(does: str, restricts: bool) -> None:
    with running(f"{LANDLOCK}\n{does}") as pid:
        found = [one.slug for one in own_settings.reported(tree(pid))]
        assert found == (["landlock"] if restricts else [])


@needs_ptrace
def test_a_thread_that_was_asked_goes_on_as_if_it_had_not_been() -> None:
    """Asked in the middle of calls that wait; one that were not taken up again would fail with 512."""
    program = (
        f"{LANDLOCK}\n{NO_NEW_PRIVILEGES}\nimport sys\n"
        "threading.Thread(target=lambda: [None for _ in iter(lambda: sum(range(99)), 0)], daemon=True).start()\n"
        "print(flush=True)\n"
        "for line in iter(lambda: os.read(0, 1), b''): os.write(1, line)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as made:
        assert made.stdin and made.stdout and made.stderr
        made.stdout.readline()
        threads = [int(name) for name in os.listdir(f"/proc/{made.pid}/task")]
        for number in range(5):
            assert thread_probe.ask(made.pid, threads * 4) == []
            made.stdin.write(b"%d" % number)
            made.stdin.flush()
            assert made.stdout.read(1) == b"%d" % number
        made.stdin.close()
        assert made.wait(10) == 0, made.stderr.read()


# A filter that ends the process at any call but those that this program waits with.
KILLS = """
import struct
words = [(0x20, 0, 0, 0)]
for number in (35, 230, 202, 219, 0, 60, 231):
    words += [(0x15, 0, 1, number), (6, 0, 0, 0x7FFF0000)]
words.append((6, 0, 0, 0x80000000))
program = b"".join(struct.pack("HBBI", *word) for word in words)
kept = ctypes.create_string_buffer(program)
holder = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(words), ctypes.addressof(kept)))
def filtered():
    assert libc.prctl(22, 2, holder, 0, 0) == 0
    os.read(0, 1)
"""


@needs_landlock
@pytest.mark.skipif(proc.status("self")["Seccomp"] != "0", reason="a filter of our own may not be left")
@pytest.mark.parametrize("restricts", [False, True])
def test_one_whose_filter_would_kill_it_is_asked_and_lives(restricts: bool) -> None:
    does = "restrict()" if restricts else NO_NEW_PRIVILEGES
    program = f"{LANDLOCK}\n{KILLS}\n{does}\nprint(flush=True)\nfiltered()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as made:
        assert made.stdout is not None
        made.stdout.readline()
        until = time.monotonic() + 10
        while proc.status(made.pid)["Seccomp"] != "2" and time.monotonic() < until:
            time.sleep(0.01)
        looked_at = tree(made.pid)
        assert [one.slug for one in own_settings.reported(looked_at)] == (["landlock"] if restricts else [])
        assert looked_at.notes == [] and made.poll() is None
        made.kill()


@needs_ptrace
def test_a_probe_that_fails_refuses_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(init: int, threads: list[int]) -> None:
        raise OSError("no helper could be made")

    monkeypatch.setattr(thread_probe, "ask", fail)
    with running(f"{LANDLOCK}\n{NO_NEW_PRIVILEGES}") as pid:
        (refusal,) = own_settings.reported(tree(pid))
    assert refusal.slug in require.MOMENTARY and "no helper could be made" in refusal.sentence


@needs_root
def test_another_architecture_is_noted_and_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with running("") as pid:
        asked = tree(pid)
        assert list(own_settings.reported(asked)) == []
    assert asked.notes == [
        "what processes set by Landlock and prctl(2), PR_SET_MDWE say, is not known on aarch64"
    ]
    assert asked.own_settings == {}


DISPATCHED = """
import ctypes, signal, sys, time
selector = ctypes.c_char(b"\\0")
assert ctypes.CDLL(None).prctl(59, 1, 0, 0, ctypes.byref(selector)) == 0
"""


@needs_ptrace
def test_calls_that_are_turned_into_signals() -> None:
    with running(DISPATCHED) as pid:
        assert [one.slug for one in own_settings.reported(tree(pid))] == ["syscall-dispatch"]


@pytest.mark.parametrize(
    ("flags", "status", "cookie", "slugs"),
    [
        (0x180040, {}, 0, ["io-flusher"]),
        (0x100040, {"untag_mask": "0xffffffffffffffff"}, 0, []),
        (0, {"untag_mask": "0x81ffffffffffffff"}, 0, ["tagged-addresses"]),
        (0, {}, 7, ["core-scheduling"]),
    ],
)
def test_what_is_seen_from_outside(
    monkeypatch: pytest.MonkeyPatch, flags: int, status: dict[str, str], cookie: int, slugs: list[str]
) -> None:
    monkeypatch.setattr("glowplug.host.process.flags", lambda _: flags)
    monkeypatch.setattr("glowplug.host.proc.status", lambda _: status)
    monkeypatch.setattr(own_settings, "_core_cookie", lambda _: cookie)
    assert [one.slug for one in own_settings.seen(tree(os.getpid()))] == slugs


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
