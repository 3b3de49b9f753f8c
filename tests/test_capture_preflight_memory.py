"""Memory and objects of the kernel's that no dump takes along."""

import subprocess
import sys

import pytest
from tests.preflight_made import needs_root, only, running, tree

from glowplug.capture.preflight import (
    files,
    memory,
)

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
# Queried for its API (UFFDIO_API), and handed the page (UFFDIO_REGISTER).
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
            pytest.skip("not in this kernel or CPU")
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


def test_a_pipe_of_packets() -> None:
    with running("import os; ends = os.pipe2(os.O_DIRECT)") as pid:
        assert {one.slug for one in files.packet_pipes(tree(pid))} == {"packet-pipe"}
    with running("import os; ends = os.pipe()") as pid:
        assert list(files.packet_pipes(tree(pid))) == []


@needs_root
def test_what_can_be_dumped_of_the_kernel_s_is_let_through() -> None:
    program = (
        "import ctypes, os, select\nlibc = ctypes.CDLL(None)\n"
        "kept = [select.epoll(), libc.eventfd(0, 0), libc.timerfd_create(1, 0), libc.inotify_init1(0),\n"
        "        os.pidfd_open(os.getpid()), os.open('/dev/null', os.O_RDWR), os.open('/dev/urandom', os.O_RDONLY)]"
    )
    with running(program) as pid:
        assert list(files.kernel_objects(tree(pid))) == []
