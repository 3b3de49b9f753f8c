"""Descriptors that CRIU has no words for, and what lies in sockets' queues for a moment."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.preflight_made import needs_root, running

from glowplug.capture.preflight import closing, odd_descriptors, own_settings, queued, signed_connections
from glowplug.capture.preflight.tree import Refusal, Tree
from glowplug.host import process
from glowplug.host.descriptors import Descriptor

Check = Callable[[Tree], Iterator[Refusal]]
MADE = """
import ctypes, fcntl, mmap, os, pty, socket, struct
os.chdir({!r})
libc = ctypes.CDLL(None, use_errno=True)
"""
SEALED = """
fd = os.memfd_create("made", os.MFD_ALLOW_SEALING)
os.write(fd, b"x" * 4096)
fcntl.fcntl(fd, 1033, {seals})
memory = mmap.mmap(fd, 4096, {flags}, {rights})
os.close(fd)
"""
UNIX = """
assert libc.unshare(0x40000000) == 0  # a network of its own: that of the node is not looked at
listener = socket.socket(socket.AF_UNIX)
listener.bind("made.sock")
listener.listen()
client = socket.socket(socket.AF_UNIX)
client.connect("made.sock")
"""
DEEP = """
for _ in range(60):
    os.mkdir("x" * 100)
    os.chdir("x" * 100)
"""
PAIR = "one, other = socket.socketpair(type=socket.SOCK_DGRAM)\n"
RELEASED = "d = os.getcwd() + '/d'; os.mkdir(d); os.chdir(d); os.rmdir(d); os.mkdir(d)"
REPLACED = "os.mkdir('d'); fd = os.open('d', os.O_RDONLY); os.rmdir('d'); open('d', 'w')"
LISTENER = """
assert libc.unshare(0x40000000) == 0
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
key = struct.pack("HH4s120xBBHI80s", 2, 0, socket.inet_aton("127.0.0.1"), 0, 0, 6, 0, b"secret")
"""
DEADLINE = """
made = struct.pack("IIQiIQQQ", 48, 6, 0, 0, 0, 1000000, 30000000, 30000000)
assert libc.syscall(314, 0, made, 0) == 0, os.strerror(ctypes.get_errno())
"""

CASES: list[tuple[Check, str, list[str]]] = [
    (odd_descriptors.eventfds, "fd = os.eventfd(7)", []),
    (odd_descriptors.eventfds, "fd = os.eventfd(7, os.EFD_SEMAPHORE)", ["eventfd"]),
    (odd_descriptors.eventfds, "fd = os.eventfd(0); os.eventfd_write(fd, 1 << 32)", ["eventfd"]),
    (odd_descriptors.paths, "os.mkfifo('f'); fd = os.open('f', os.O_PATH)", ["path-descriptor"]),
    (odd_descriptors.paths, "os.mkfifo('f'); fd = os.open('f', os.O_RDWR)", []),
    (odd_descriptors.paths, UNIX + "fd = os.open('made.sock', os.O_PATH)", ["path-descriptor"]),
    (odd_descriptors.paths, "fds = [os.open(x, os.O_PATH) for x in ('/dev/null', '/', '/etc/hosts')]", []),
    (odd_descriptors.paths, DEEP, ["long-path"]),
    (odd_descriptors.paths, f"{DEEP}fd = os.open('f', os.O_CREAT | os.O_RDWR); os.chdir('/')", ["long-path"]),
    (odd_descriptors.removed_directories, "os.mkdir('d'); os.chdir('d'); os.rmdir('../d')", []),
    (odd_descriptors.removed_directories, RELEASED, ["removed-directory"]),
    (odd_descriptors.removed_directories, REPLACED, ["removed-directory"]),
    (odd_descriptors.sealed_memory, SEALED.format(seals=8, flags="mmap.MAP_SHARED", rights=1), ["sealed-memfd"]),
    (odd_descriptors.sealed_memory, SEALED.format(seals=8, flags="mmap.MAP_PRIVATE", rights=3), []),
    (odd_descriptors.sealed_memory, SEALED.format(seals=6, flags="mmap.MAP_SHARED", rights=3), []),
    (closing.urgent, "a, b = socket.socketpair(); a.send(b'xy', socket.MSG_OOB)", ["urgent-data"]),
    (closing.urgent, "a, b = socket.socketpair(); a.send(b'xy')", []),
    (queued.unaccepted, UNIX, []),
    (queued.unaccepted, UNIX + "client.send(b'x')", ["unaccepted-connection"]),
    (queued.unaccepted, UNIX + "client.close()", ["unaccepted-connection"]),
    (queued.unaccepted, UNIX + "server = listener.accept()[0]; client.send(b'x')", []),
    (queued.datagrams, PAIR + "other.setsockopt(1, socket.SO_PASSCRED, 1); one.send(b'x')", ["unread-control-message"]),
    (queued.datagrams, PAIR + "other.setsockopt(1, 29, 1); one.send(b'x')", ["unread-control-message"]),
    (queued.datagrams, PAIR + "other.setsockopt(1, socket.SO_PASSCRED, 1)", []),
    (queued.datagrams, PAIR + "one.send(b'x')", []),
    (queued.datagrams, "s = socket.socket(type=socket.SOCK_DGRAM); s.setsockopt(17, 1, 1)", ["corked-datagram"]),
    (queued.datagrams, "s = socket.socket(type=socket.SOCK_DGRAM)", []),
    (signed_connections.keys, LISTENER, []),
    (signed_connections.keys, f"{LISTENER}listener.setsockopt(6, 14, key)", ["tcp-keys"]),
    (own_settings.seen, DEADLINE, ["scheduling-class"]),
    (own_settings.seen, "os.sched_setscheduler(0, os.SCHED_BATCH | os.SCHED_RESET_ON_FORK, os.sched_param(0))", []),
]  # fmt: skip


@needs_root
@pytest.mark.parametrize(("check", "program", "slugs"), CASES)
def test_it_is_seen(tmp_path: Path, check: Check, program: str, slugs: list[str]) -> None:
    with running(MADE.format(str(tmp_path)) + program) as pid:
        assert [one.slug for one in check(Tree([pid], "/"))] == slugs


TERMINAL = """
child, master = pty.fork()
if not child:
    fd = os.open("/dev/tty", os.O_RDWR)
    os.write(fd, b"x")
    import time; time.sleep(600)
assert os.read(master, 1) == b"x"
"""


@needs_root
def test_a_controlling_terminal(tmp_path: Path) -> None:

    with running(MADE.format(str(tmp_path)) + TERMINAL) as pid:
        pids = process.tree(pid)
        try:
            assert [one.slug for one in odd_descriptors.terminals(Tree(pids, "/"))] == ["terminal"]
        finally:
            os.kill(pids[1], signal.SIGKILL)


@needs_root
def test_a_semaphore_that_may_be_the_drivers_is_noted() -> None:
    with running("import os; fd = os.eventfd(7, os.EFD_SEMAPHORE)") as pid:
        found = Tree([pid], "/")
        found.descriptors.append(Descriptor(pid, 99, "/dev/nvidia0"))
        assert list(odd_descriptors.eventfds(found)) == []
    assert len(found.notes) == 1 and "EFD_SEMAPHORE" in found.notes[0]
