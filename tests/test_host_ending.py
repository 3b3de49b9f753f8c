"""A process that is ended from outside ends with status 0, whatever it is doing."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from glowplug.host import ending

PROGRAMS = {
    "sleeps": "import time; print(flush=True); time.sleep(600)",
    "computes": "print(flush=True)\nwhile True: pass",
    "is deaf": (
        "import signal, time\n"
        "for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)\n"
        "print(flush=True); time.sleep(600)"
    ),
    "is stopped": ("import os, signal\nprint(flush=True)\nwhile True: os.kill(os.getpid(), signal.SIGSTOP)"),
    "has threads": (
        "import threading, time\n"
        "for _ in range(8): threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "print(flush=True); time.sleep(600)"
    ),
    "has no first thread any more": (
        "import ctypes, threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "print(flush=True); ctypes.CDLL(None).syscall(60, 0)"
    ),
}


@contextmanager
def running(program: str) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        try:
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize("what", PROGRAMS)
def test_it_ends_with_status_0(what: str) -> None:
    with running(PROGRAMS[what]) as child:
        assert ending.end_with_zero(child.pid)
        assert child.wait(60) == 0


def test_one_that_somebody_debugs_is_killed() -> None:
    """It has its debugger, and can't have another."""
    tracer = (
        "import ctypes, os, sys\n"
        "ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), 0, 0)\n"
        "print(flush=True); sys.stdin.read()"
    )
    with running(PROGRAMS["sleeps"]) as child:
        debugger = subprocess.Popen(
            [sys.executable, "-c", tracer, str(child.pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with debugger:
            assert debugger.stdout
            debugger.stdout.readline()
            assert not ending.end_with_zero(child.pid)
            debugger.kill()
        assert child.wait(60) == -9
