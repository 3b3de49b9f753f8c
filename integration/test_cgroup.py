"""Control groups of the real kernel, where those of a directory that looks like one would not do."""

import mmap
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from glowplug.host import cgroup

MEMORY = 512 << 20
THREADS = 8
TRIES = 5

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a cgroup hierarchy")


@pytest.fixture
def unified(tmp_path: Path) -> Iterator[Path]:
    """The unified hierarchy, which a host of v1 has too, if without controllers."""
    subprocess.run(["mount", "-t", "cgroup2", "none", str(tmp_path)], check=True)
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_cgroup_is_removed_when_the_last_thread_of_a_killed_process_has_ended(unified: Path) -> None:
    """Until then v2 is busy with a process that it no longer lists: a clean-up that did not wait made `create` fail."""
    for number in range(TRIES):
        group = unified / f"glowplug-test-{os.getpid()}-{number}"
        group.mkdir()
        pid = large_process(group)
        try:
            cgroup.kill([str(group)], 20)
            cgroup.remove([str(group)], 20)
            assert not group.exists()
        finally:
            os.waitpid(pid, 0)
            if group.exists():
                group.rmdir()


def large_process(group: Path) -> int:
    """Of many threads and much memory, in the cgroup; ready when this returns."""
    ready, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        (group / "cgroup.procs").write_text("0")
        memory = mmap.mmap(-1, MEMORY, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        memory[:: mmap.PAGESIZE] = b"x" * (MEMORY // mmap.PAGESIZE)
        for _ in range(THREADS):
            threading.Thread(target=signal.pause, daemon=True).start()
        os.write(say, b"1")
        signal.pause()
    os.close(say)
    os.read(ready, 1)
    os.close(ready)
    return pid
