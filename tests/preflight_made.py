"""Processes that checks before a capture look at."""

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from glowplug.capture.preflight.tree import Refusal, Tree

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
