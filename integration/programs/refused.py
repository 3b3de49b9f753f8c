"""What a capture has to refuse before it touches anything."""

import ctypes
import os
import platform
import select
import signal
import socket
import struct
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
ADD_KEY = {"x86_64": 248, "aarch64": 217}[platform.machine()]


def _child(work):
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            while True:
                time.sleep(60)
    return lambda: None


def mptcp_listener():
    one = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 262)
    one.bind(("::", 9000))
    one.listen()
    return lambda: one


def mptcp_connection():
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    one.bind(("127.0.0.1", 9000))
    one.listen()
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    client.connect(("127.0.0.1", 9000))
    accepted = one.accept()[0]
    one.close()
    return lambda: (client, accepted)


def mptcp_unused():
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    return lambda: one


def traced_child():
    def work():
        libc.ptrace(0, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)

    check = _child(work)
    os.waitpid(-1, os.WUNTRACED)
    return check


def vfork_in_a_thread():
    def work():
        if libc.vfork() == 0:
            signal.pause()

    return _child(work)


def vfork_in_a_grandchild():
    def work():
        if os.fork() == 0 and libc.vfork() == 0:
            signal.pause()

    return _child(work)


def vfork_of_a_spawn():
    """posix_spawn(3), whose child waits for a reader of a FIFO before it executes."""
    os.mkfifo("/run/fifo")
    target = [(os.POSIX_SPAWN_OPEN, 1, "/run/fifo", os.O_WRONLY, 0)]
    return _child(lambda: os.posix_spawn("/bin/true", ["true"], {}, file_actions=target))


def message_queue():
    """Of mq_open(3), and unlinked: no name is left to be seen."""
    one = libc.mq_open(b"/unread", os.O_CREAT | os.O_RDWR, 0o600, None)
    assert one >= 0 and libc.mq_unlink(b"/unread") == 0
    return lambda: one


def message_queue_by_name():
    """Closed: it is there until somebody unlinks it."""
    os.close(libc.mq_open(b"/waiting", os.O_CREAT | os.O_RDWR, 0o600, None))
    return lambda: None


def netlink_unread():
    one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    one.send(struct.pack("=IHHIIBxHiII", 32, 18, 0x1, 1, 0, 0, 0, 1, 0, 0))
    select.select([one], [], [])
    return lambda: one


def session_key():
    """add_key(2) into the session keyring."""
    assert libc.syscall(ADD_KEY, b"user", b"token", b"secret", 6, -3) > 0
    return lambda: None


def ping():
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    return lambda: one


def large_removed():
    """Its blocks count, not its size."""
    fd = os.open("/run/large", os.O_CREAT | os.O_RDWR)
    os.posix_fallocate(fd, 0, 513 << 20)
    os.unlink("/run/large")
    return lambda: fd


def sealed():
    libc.mmap.restype = ctypes.c_void_p
    address = libc.mmap(None, ctypes.c_size_t(4096), 1, 0x22, -1, ctypes.c_long(0))
    assert not libc.syscall(462, ctypes.c_void_p(address), ctypes.c_size_t(4096), 0)
    return lambda: None


def program_in_memory():
    fd = os.memfd_create("tool", 0)
    with open("/bin/busybox", "rb") as file:
        os.write(fd, file.read())
    return _child(lambda: os.execv(f"/proc/self/fd/{fd}", ["sleep", "6000"]))


def relative_then_renamed():
    os.chdir("/run")
    one = socket.socket(socket.AF_UNIX)
    one.bind("new.sock")
    one.listen()
    os.rename("new.sock", "final.sock")
    return lambda: one


def peer_outside():
    """The sidecar's end is in a volume that both mount."""
    one = socket.socket(socket.AF_UNIX)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            one.connect("/scratch/sidecar.sock")
            break
        except OSError:
            time.sleep(0.05)
    return lambda: one


def working_directory_of_a_thread():
    """unshare(CLONE_FS), as Samba's."""
    ready = threading.Event()

    def work():
        assert libc.unshare(0x200) == 0
        os.chdir("/run")
        ready.set()
        threading.Event().wait()

    threading.Thread(target=work, daemon=True).start()
    ready.wait()
    return lambda: None


def first_thread_ended():
    """pthread_exit(3) of main, of a child."""
    pid = os.fork()
    if not pid:
        threading.Thread(target=threading.Event().wait).start()
        libc.syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)
    while True:
        with open(f"/proc/{pid}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] == "Z":
                return lambda: None


def _connected():
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, socket.create_connection(listener.getsockname())


def unaccepted():
    """Inside, with data."""
    listener, client = _connected()
    client.send(b"hello")
    return lambda: (listener, client)


def urgent():
    listener, client = _connected()
    server = listener.accept()[0]
    client.send(b"!", socket.MSG_OOB)
    select.select([], [], [server])
    return lambda: (server, client)


def ruleset():
    """Of Landlock, made and not enforced."""
    rules = libc.syscall(444, ctypes.byref(ctypes.c_uint64(2)), 8, 0)
    assert rules >= 0
    return lambda: rules


def dispatched():
    """System calls turned into signals, as Wine has it, in a child."""

    def work():
        selector = ctypes.c_char(b"\0")
        assert libc.prctl(59, 1, 0, 0, ctypes.byref(selector)) == 0

    return _child(work)


def landlocked(access=2):
    rules = libc.syscall(444, ctypes.byref(ctypes.c_uint64(access)), 8, 0)
    libc.prctl(38, 1, 0, 0, 0)
    assert libc.syscall(446, rules, 0) == 0
    os.close(rules)
    return lambda: None


def landlocked_child():
    return _child(landlocked)


def landlocked_thread():
    ready = threading.Event()

    def work():
        landlocked()
        ready.set()
        threading.Event().wait()

    threading.Thread(target=work, daemon=True).start()
    ready.wait()
    return lambda: None
