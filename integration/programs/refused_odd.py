"""What a capture has to refuse since CRIU would bring it back as something else, or fails over it."""

import fcntl
import mmap
import os
import socket


def semaphore():
    """CRIU makes it an eventfd like any other."""
    one = os.eventfd(7, os.EFD_SEMAPHORE)
    return lambda: one


def urgent_unix():
    one, other = socket.socketpair()
    one.send(b"xy", socket.MSG_OOB)
    return lambda: (one, other)


def unaccepted_unix():
    """With data."""
    listener, client = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    listener.bind("\0early")
    listener.listen()
    client.connect("\0early")
    client.send(b"early")
    return lambda: (listener, client)


def credentials():
    one, other = socket.socketpair(type=socket.SOCK_DGRAM)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    one.send(b"x")
    return lambda: (one, other)


def path_of_a_fifo():
    os.mkfifo("/run/path")
    one = os.open("/run/path", os.O_PATH)
    return lambda: one


def sealed_memfd():
    one = os.memfd_create("sealed", os.MFD_ALLOW_SEALING)
    os.write(one, bytes(4096))
    fcntl.fcntl(one, 1033, 8)
    memory = mmap.mmap(one, 4096, mmap.MAP_SHARED, mmap.PROT_READ)
    return lambda: (one, memory)


def replaced_directory():
    """A release that was replaced in place, under a process that stays in the old one."""
    before = os.getcwd()
    os.mkdir("/run/release")
    os.chdir("/run/release")
    os.rmdir("/run/release")
    os.mkdir("/run/release")
    return lambda: before
