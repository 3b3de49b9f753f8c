"""A process under a seccomp filter can't dump one that has a filter: why the agent's unit installs none."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.node import CRIU

# A filter that allows everything: enough for the kernel to refuse (ptrace.c, PTRACE_O_SUSPEND_SECCOMP).
UNDER_A_FILTER = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000))
filters = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 1, ctypes.addressof(program)))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, filters, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


def filtered(*command: str) -> list[str]:
    return [sys.executable, "-IS", "-c", UNDER_A_FILTER, *command]


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process with a filter, as a container of RuntimeDefault has one."""
    if os.geteuid() != 0 or not os.path.exists(CRIU):
        pytest.skip("needs root and CRIU (hack/setup)")
    sleep = shutil.which("sleep")
    assert sleep is not None
    child = subprocess.Popen(
        filtered(sleep, "600"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while Path(f"/proc/{child.pid}/comm").read_text() != "sleep\n":
        assert time.monotonic() < until
        time.sleep(0.01)
    yield child.pid
    child.send_signal(signal.SIGKILL)
    child.wait()


def dump(pid: int, images: Path, prefix: list[str]) -> tuple[int, str]:
    """`criu dump`, on its own or through `prefix`; its status and its log."""
    images.mkdir()
    options = f"--tree {pid} --leave-running --network-lock skip --manage-cgroups=ignore -v2 -o log"
    command = [*prefix, CRIU, "dump", "--images-dir", str(images), *options.split()]
    done = subprocess.run(command, capture_output=True, timeout=60)
    return done.returncode, (images / "log").read_text(errors="replace")


def test_a_filtered_parent_can_t_dump_a_filtered_process(sleeper: int, tmp_path: Path) -> None:
    status, log = dump(sleeper, tmp_path / "plain", [])
    assert status == 0, log
    status, log = dump(sleeper, tmp_path / "filtered", filtered()[:4])
    assert status != 0 and "suspending seccomp failed" in log
    assert Path(f"/proc/{sleeper}/comm").read_text() == "sleep\n"
