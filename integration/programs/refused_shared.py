"""What a capture has to refuse since it is not a process's own, or not the container's."""

import ctypes
import mmap
import os
import select
import signal
import socket
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
CLONE_VM, CLONE_FS, CLONE_NEWIPC, CLONE_NEWPID = 0x100, 0x200, 0x08000000, 0x20000000
PIDFD_OPEN, PIDFD_THREAD = 434, os.O_EXCL


def _cloned(flags):
    """A child on a stack of its own that runs none of our Python."""
    stack = ctypes.create_string_buffer(1 << 16)
    top = ctypes.c_void_p((ctypes.addressof(stack) + (1 << 16)) & ~15)
    assert libc.clone(ctypes.cast(libc.pause, ctypes.c_void_p), top, flags | signal.SIGCHLD, None) > 0
    return lambda: stack and None


def memory():
    return _cloned(CLONE_VM)


def working_directory():
    return _cloned(CLONE_FS)


def _forked(work):
    ready, done = os.pipe()
    if not os.fork():
        work()
        os.write(done, b"1")
        while True:
            time.sleep(60)
    assert os.read(ready, 1) == b"1"
    os.close(ready)
    os.close(done)
    return lambda: None


def _unshare(flag):
    assert libc.unshare(flag) == 0, os.strerror(ctypes.get_errno())


def namespace():
    return _forked(lambda: _unshare(CLONE_NEWIPC))


def namespace_of_children():
    """There are none yet."""
    return _forked(lambda: _unshare(CLONE_NEWPID))


def watched_by_another():
    """Closed after a fork, without EPOLL_CTL_DEL: the epoll goes on watching what the child has."""
    epoll = select.epoll()
    one, other = socket.socketpair()
    epoll.register(one.fileno(), select.EPOLLIN)
    _forked(lambda: None)
    one.close()
    return lambda: (epoll, other)


def rotated():
    """What `tail -F` follows until it sees the next one."""
    file = open("/run/log", "w")
    watch = libc.inotify_init1(0)
    assert libc.inotify_add_watch(watch, b"/run/log", 2) > 0
    os.unlink("/run/log")
    return lambda: (file, watch)


def thread():
    one = threading.Thread(target=threading.Event().wait, daemon=True)
    one.start()
    fd = libc.syscall(PIDFD_OPEN, one.native_id, PIDFD_THREAD)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    return lambda: fd


def late_group():
    """RTNLGRP_STATS."""
    one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    one.bind((0, 0))
    one.setsockopt(270, 1, 36)
    return lambda: one


def large_mapped():
    """Only a mapping holds it."""
    fd = os.open("/run/mapped", os.O_CREAT | os.O_RDWR)
    os.posix_fallocate(fd, 0, 513 << 20)
    memory = mmap.mmap(fd, 4096)
    os.close(fd)
    os.unlink("/run/mapped")
    return lambda: memory
