"""What CRIU takes to be a process's own or the container's, and is not: memory, files, namespaces, watched files."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.preflight_made import needs_root, only, running

from glowplug.capture.preflight import files, require, shared_parts, sockets, watchers
from glowplug.capture.preflight.tree import Tree
from glowplug.errors import CaptureRefused
from glowplug.host import process

CLONE_VM, CLONE_FS, CLONE_FILES = 0x100, 0x200, 0x400
# A child by the raw system call, which goes on in its parent's memory: it may not return from here.
CLONED = """
import ctypes, signal
libc = ctypes.CDLL(None)
stack = ctypes.create_string_buffer(1 << 16)
top = ctypes.c_void_p((ctypes.addressof(stack) + (1 << 16)) & ~15)
assert libc.clone(ctypes.cast(libc.pause, ctypes.c_void_p), top, {} | signal.SIGCHLD, None) > 0
"""
FORKED = """
import ctypes, os, time
libc = ctypes.CDLL(None)
ready, done = os.pipe()
if os.fork() == 0:
    {}
    os.write(done, b"1")
    time.sleep(600)
assert os.read(ready, 1) == b"1"
"""


@contextmanager
def with_children(program: str) -> Iterator[Tree]:
    """A program and its children, all ended afterwards."""
    with running(program) as pid:
        pids = process.tree(pid)
        try:
            yield Tree(pids, "/")
        finally:
            for child in pids[1:]:
                os.kill(child, signal.SIGKILL)


@needs_root
@pytest.mark.parametrize(
    ("flags", "what"), [(CLONE_VM, "its memory"), (CLONE_FS, "its working directory"), (CLONE_FILES, "")]
)
def test_a_process_that_shares_with_another(flags: int, what: str) -> None:
    with with_children(CLONED.format(flags)) as found:
        refusals = list(shared_parts.between_processes(found))
        assert [what in one.sentence and one.slug for one in refusals] == (
            ["shared-with-process"] if what else []
        )
        if what:
            with pytest.raises(CaptureRefused, match="process"):
                require.require(found)


@needs_root
@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        (0x08000000, "an IPC namespace"),
        (0x04000000, "a UTS namespace"),
        (0x02000000, "a cgroup namespace"),
        (0x20000000, "a PID namespace"),
        (0x80, "a time namespace"),
        (0x10000000, "a user namespace"),
        (0x20000 | 0x40000000, ""),
    ],
)
def test_a_namespace_inside_the_container(flags: int, kind: str) -> None:
    """A mount or network namespace of a process's own is dumped. One for children counts before there are any."""
    with with_children(FORKED.format(f"assert libc.unshare({flags}) == 0")) as found:
        refusals = list(shared_parts.nested_namespaces(found))
        assert [kind in one.sentence and one.slug for one in refusals] == (
            ["nested-namespace"] if kind else []
        )


EPOLL = """
import os, select, socket, time
epoll = select.epoll()
one, other = socket.socketpair()
epoll.register(one.fileno(), select.EPOLLIN)
ready, done = os.pipe()
if os.fork() == 0:
    {}
    os.write(done, b"1")
    time.sleep(600)
assert os.read(ready, 1) == b"1"
{}
"""


@needs_root
@pytest.mark.parametrize(
    ("child", "parent", "slugs"),
    [
        ("", "", []),
        ("", "copy = os.dup(one.fileno()); one.close()", []),
        ("", "one.close()", ["escaped-watch"]),
        ("one.close()", "", []),
        ("own = os.eventfd(0); epoll.register(own, select.EPOLLIN)", "", ["escaped-watch"]),
        ("own = select.epoll(); own.register(os.eventfd(0), select.EPOLLIN)", "", []),
    ],
)
def test_a_watched_file_that_only_another_process_has(child: str, parent: str, slugs: list[str]) -> None:
    with with_children(EPOLL.format(child, parent)) as found:
        assert [one.slug for one in watchers.escaped(found)] == slugs


PIDFD = "import os, threading, ctypes\n"


@needs_root
@pytest.mark.parametrize(
    ("program", "slugs"),
    [
        ("pidfd = os.pidfd_open(os.getpid())", []),
        ("pidfd = os.pidfd_open(os.getppid())", ["foreign-pidfd"]),
        ("child = os.fork()\nif not child: os._exit(0)\nheld = os.pidfd_open(child)", []),
        (
            "child = os.fork()\nif not child: os._exit(0)\nheld = os.pidfd_open(child)\nos.waitpid(child, 0)",
            [],
        ),
        (
            "thread = threading.Thread(target=threading.Event().wait, daemon=True)\nthread.start()\n"
            "assert ctypes.CDLL(None).syscall(434, thread.native_id, os.O_EXCL) >= 0",
            ["thread-pidfd"],
        ),
    ],
    ids=["own", "outside", "ended", "reaped", "thread"],
)
def test_a_pidfd(program: str, slugs: list[str]) -> None:
    with running(PIDFD + program) as pid:
        assert [one.slug for one in watchers.pidfds(Tree([pid], "/"))] == slugs


@needs_root
def test_a_large_removed_file_that_is_only_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "GHOST_LIMIT", 1 << 19)
    program = (
        f"import mmap, os; f = open('{tmp_path}/gone', 'w+b'); f.write(bytes(1 << 20)); f.flush()\n"
        "m = mmap.mmap(f.fileno(), 0); os.unlink(f.name); f.close()\n"
        "fd = os.memfd_create('own'); os.posix_fallocate(fd, 0, 1 << 20); n = mmap.mmap(fd, 0); os.close(fd)\n"
        "shared = mmap.mmap(-1, 1 << 20); shared[:] = b'x' * (1 << 20)"
    )
    with running(program) as pid:
        said = only(files.large_removed(Tree([pid], "/")))
    assert said.slug == "large-removed-file" and f"{tmp_path}/gone of 1 MiB" in said.sentence


NETLINK = "import socket; s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)\n"


@needs_root
@pytest.mark.parametrize(
    ("then", "what"),
    [
        ("s.bind((0, 0x11))", ""),
        ("s.bind((0, 0)); s.setsockopt(270, 1, 5)", ""),
        ("s.setsockopt(270, 1, 5)", "is not bound"),
        ("s.bind((0, 0)); s.setsockopt(270, 1, 36)", "beyond the first 32"),
        ("", ""),
    ],
)
def test_groups_of_a_netlink_socket(then: str, what: str) -> None:
    with running(NETLINK + then) as pid:
        refusals = list(sockets.unsupported(Tree([pid], "/")))
    assert [what in one.sentence and one.slug for one in refusals] == (["netlink-groups"] if what else [])


@needs_root
def test_a_connection_that_the_kernel_encrypts(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import socket; l = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(l.getsockname())"
    real = sockets._text  # no kernel of the tests has kernel TLS
    monkeypatch.setattr(
        sockets, "_text", lambda fd, level, name: "tls" if name == 31 else real(fd, level, name)
    )
    with running(program) as pid:
        assert {one.slug for one in sockets.unsupported(Tree([pid], "/"))} == {"tcp-ulp"}
    monkeypatch.undo()
    assert socket.IPPROTO_TCP == 6
    with running(program) as pid:
        assert list(sockets.unsupported(Tree([pid], "/"))) == []


@needs_root
def test_a_hostile_name_stays_on_its_line() -> None:
    hostile = "import ctypes, socket; ctypes.CDLL(None).prctl(15, b'x\\ny\\x1b[2Jz', 0, 0, 0)\n"
    with running(
        hostile + "s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); s.setsockopt(270, 1, 5)"
    ) as pid:
        sentence = only(sockets.unsupported(Tree([pid], "/"))).sentence
    assert sentence.isprintable() and r"(x\ny\x1b[2Jz)" in sentence


WATCH = "import ctypes, os; libc = ctypes.CDLL(None); fd = libc.inotify_init1(0)\n"


@needs_root
@pytest.mark.parametrize(
    ("then", "slugs"),
    [
        ("f = open('log', 'w'); libc.inotify_add_watch(fd, b'log', 2)", []),
        ("f = open('log', 'w'); libc.inotify_add_watch(fd, b'log', 2); os.unlink('log')", ["lost-watch"]),
        ("f = open('log', 'w'); libc.inotify_add_watch(fd, b'log', 2); f.close(); os.unlink('log')", []),
        (
            "os.mkdir('d'); os.chdir('d'); libc.inotify_add_watch(fd, b'.', 2); os.rmdir('../d')",
            ["lost-watch"],
        ),
        ("libc.inotify_add_watch(fd, b'/proc/self', 2)", ["lost-watch"]),
        ("f = open('x', 'w'); os.unlink('x'); libc.inotify_add_watch(fd, b'.', 2)", []),
    ],
    ids=["there", "removed", "forgotten", "directory", "proc", "another"],
)
def test_a_watch_on_what_was_removed(tmp_path: Path, then: str, slugs: list[str]) -> None:
    with running(f"import os; os.chdir('{tmp_path}')\n{WATCH}{then}") as pid:
        assert [one.slug for one in watchers.lost(Tree([pid], "/"))] == slugs
