"""How much memory a capture will have to write, from what the kernel says."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from glowplug.host import memory

MIB = 1 << 20
SMAPS = """\
55d0c0a00000-55d0c0b00000 rw-p 00000000 00:00 0                          [heap]
Rss:                9000 kB
Pss:                5000 kB
Anonymous:           300 kB
Swap:               7000 kB
SwapPss:            7000 kB
VmFlags: rd wr
"""
MAPS = """
import mmap, os, sys
path, size = sys.argv[1], 64 << 20
for shared in (mmap.MAP_SHARED, mmap.MAP_PRIVATE):
    globals()[f"weights{shared}"] = mmap.mmap(os.open(path, os.O_RDONLY), size, shared, mmap.PROT_READ)
    sum(globals()[f"weights{shared}"][at] for at in range(0, size, 4096))
if sys.argv[2] == "memfd":
    made = os.memfd_create("mine"); os.truncate(made, 32 << 20); own = mmap.mmap(made, 32 << 20)
elif sys.argv[2] == "shared":
    own = mmap.mmap(-1, 32 << 20)
elif sys.argv[2] == "removed":
    made = os.open(path + ".2", os.O_RDWR | os.O_CREAT); os.unlink(path + ".2"); os.truncate(made, 32 << 20)
    own = mmap.mmap(made, 32 << 20)
else:
    own = mmap.mmap(-1, 32 << 20, mmap.MAP_PRIVATE)
for at in range(0, len(own), 4096):
    own[at] = 1
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[str]:
    """A file of 64 MiB in a tmpfs, as weights may be in one."""
    subprocess.run(["mount", "-t", "tmpfs", "volume", tmp_path], check=True, timeout=60)
    try:
        path = tmp_path / "model.safetensors"
        path.write_bytes(bytes(64 * MIB))
        yield str(path)
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True, timeout=60)


@pytest.mark.parametrize("kind", ["private", "shared", "memfd", "removed"])
def test_its_own_memory_counts_and_a_mapped_file_of_a_volume_does_not(volume: str, kind: str) -> None:
    command = [sys.executable, "-IS", "-c", MAPS, volume, kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert 32 * MIB <= memory.to_dump([process.pid]) < 60 * MIB
        process.stdin.close()


def test_what_is_swapped_out_is_written_too() -> None:
    assert memory.counted(SMAPS.splitlines()) == (300 + 7000) * 1024


def test_a_process_that_is_gone_holds_nothing() -> None:
    assert memory.to_dump([2**22 + 1]) == 0
