"""System V memory that was removed while it was attached, in an IPC namespace of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from glowplug.host import sysv

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

PROGRAM = """
import ctypes, os
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
assert libc.unshare(0x08000000) == 0
kept, removed = libc.shmget(0, 4096, 0o1600), libc.shmget(0, 4096, 0o1600)
libc.shmat(kept, None, 0)
libc.shmat(removed, None, 0)
libc.shmctl(removed, 0, None)
print(kept, removed, flush=True)
os.read(0, 1)
"""


@pytest.fixture
def process() -> Iterator[tuple[int, int, int]]:
    """Its pid, and the numbers of a segment that is kept and of one that is removed."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as made:
        assert made.stdout is not None
        kept, removed = map(int, made.stdout.readline().split())
        yield made.pid, kept, removed
        made.kill()


def test_it_is_seen(process: tuple[int, int, int]) -> None:
    pid, _, removed = process
    assert sysv.removed_memory(pid) == [removed]


def test_one_is_removed_again_and_one_that_is_gone_is_let_be(process: tuple[int, int, int]) -> None:
    pid, kept, removed = process
    sysv.remove_memory(pid, [kept, 999_999])
    assert sysv.removed_memory(pid) == [kept, removed]


def test_the_node_s_own_is_nobody_s() -> None:
    assert sysv.removed_memory(os.getpid()) == []
    sysv.remove_memory(os.getpid(), [0])
