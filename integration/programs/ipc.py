"""System V objects of the pod, and what is on its way through Unix sockets."""

import ctypes
import os
import socket
import struct

libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
CREATE, GETVAL, SETVAL, NO_WAIT = 0o1600, 12, 16, 0o4000


def shared_memory():
    """Attached, and found by its key."""
    number = libc.shmget(0x7701, 4096, CREATE)
    assert number >= 0
    address = libc.shmat(number, None, 0)
    ctypes.memmove(address, b"kept", 4)

    def check():
        assert ctypes.string_at(address, 4) == b"kept"
        again = libc.shmat(libc.shmget(0x7701, 4096, 0o600), None, 0)
        ctypes.memmove(again, b"both", 4)
        assert ctypes.string_at(address, 4) == b"both", "two segments"
        ctypes.memmove(address, b"kept", 4)
        assert libc.shmdt(ctypes.c_void_p(again)) == 0

    return check


def removed_memory():
    """Removed while it is attached, so that it goes with its last user."""
    number = libc.shmget(0, 4096, CREATE)
    address = libc.shmat(number, None, 0)
    ctypes.memmove(address, b"kept", 4)
    assert libc.shmctl(number, 0, None) == 0

    def check():
        assert ctypes.string_at(address, 4) == b"kept"
        with open("/proc/sysvipc/shm") as lines:
            rights = {line.split()[1]: line.split()[2] for line in lines}
        assert rights[str(number)] == "1600", rights

    return check


def semaphores():
    number = libc.semget(0x7702, 2, CREATE)
    assert number >= 0 and libc.semctl(number, 1, SETVAL, 3) == 0

    def check():
        found = [libc.semctl(number, which, GETVAL) for which in (0, 1)]
        assert found == [0, 3], found

    return check


def messages():
    """Of two types, in their order."""
    number = libc.msgget(0x7703, CREATE)

    def put():
        for kind, text in ((7, b"first"), (8, b"other"), (7, b"third")):
            assert libc.msgsnd(number, struct.pack("l5s", kind, text), 5, NO_WAIT) == 0

    def check():
        buffer = ctypes.create_string_buffer(64)
        found = []
        while libc.msgrcv(number, buffer, 56, ctypes.c_long(0), NO_WAIT) == 5:
            found.append((struct.unpack_from("l", buffer)[0], buffer.raw[8:13]))
        put()
        assert found == [(7, b"first"), (8, b"other"), (7, b"third")], found

    put()
    return check


def unix_datagrams():
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sent = [b"one", b"two", b"three" * 1000]
    for text in sent:
        one.send(text)

    def check():
        other.settimeout(30)
        found = [other.recv(9999) for _ in sent]
        for text in sent:
            one.send(text)
        assert found == sent

    return check


def descriptors_in_flight():
    """Sent and not received: nobody holds them."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)

    def send():
        reading, writing = os.pipe()
        os.write(writing, b"kept")
        socket.send_fds(one, [b"!"], [reading, writing])
        os.close(reading)
        os.close(writing)

    def check():
        other.settimeout(30)
        _, found, _, _ = socket.recv_fds(other, 9, 9)
        send()
        assert os.read(found[0], 9) == b"kept"
        for fd in found:
            os.close(fd)

    send()
    return check
