"""What a capture has to refuse before it touches anything."""

import ctypes
import os
import signal
import socket
import time

libc = ctypes.CDLL(None, use_errno=True)


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
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            one.connect("/scratch/sidecar.sock")
            break
        except OSError:
            time.sleep(0.05)
    return lambda: one


def landlocked(access=2):
    rules = libc.syscall(444, ctypes.byref(ctypes.c_uint64(access)), 8, 0)
    libc.prctl(38, 1, 0, 0, 0)
    assert libc.syscall(446, rules, 0) == 0
    os.close(rules)
    return lambda: None


def landlocked_child():
    return _child(landlocked)


def landlocked_thread():
    import threading

    ready = threading.Event()

    def work():
        landlocked()
        ready.set()
        threading.Event().wait()

    threading.Thread(target=work, daemon=True).start()
    ready.wait()
    return lambda: None
