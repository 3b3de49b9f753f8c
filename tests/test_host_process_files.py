"""Files that a process can write without opening them: a capture must not leave one of them behind."""

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from glowplug.host import process

MAPPED = """
import mmap, os, sys
path, how, flags = sys.argv[1:]
fd = os.open(path, os.O_RDWR)
prot = {"r": mmap.PROT_READ, "rw": mmap.PROT_READ | mmap.PROT_WRITE, "w": mmap.PROT_WRITE}[how]
mapped = mmap.mmap(fd, 4096, getattr(mmap, flags), prot)
os.close(fd)
print("ready", flush=True)
sys.stdin.read()
"""


class Mapping:
    """A process that maps a file and has no descriptor of it any more."""

    def __init__(self, path: Path, how: str, flags: str) -> None:
        # mmap.mmap keeps a copy of the descriptor, so libc is called
        program = MAPPED.replace(
            "mapped = mmap.mmap(fd, 4096, getattr(mmap, flags), prot)",
            "import ctypes; libc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p;"
            "mapped = libc.mmap(None, ctypes.c_size_t(4096), prot, getattr(mmap, flags), fd, ctypes.c_long(0))",
        )
        words = [sys.executable, "-IS", "-c", program, str(path), how, flags]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def end(self) -> None:
        self.process.communicate("", timeout=60)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a file\nof two lines"
    path.write_bytes(b"x" * 4096)
    return path


def can_read_map_files() -> bool:
    mapped = mmap.mmap(-1, 4096)
    try:
        return bool(os.stat(f"/proc/self/map_files/{os.listdir('/proc/self/map_files')[0]}"))
    except OSError:
        return False
    finally:
        mapped.close()


@pytest.fixture
def written(file: Path) -> Iterator[list[Mapping]]:
    mappings: list[Mapping] = []
    yield mappings
    for one in mappings:
        one.end()


@pytest.mark.skipif(not can_read_map_files(), reason="links of map_files can't be followed by this user")
@pytest.mark.parametrize(
    ("how", "flags", "is_written"),
    [
        ("rw", "MAP_SHARED", True),
        ("w", "MAP_SHARED", True),
        ("r", "MAP_SHARED", False),
        ("rw", "MAP_PRIVATE", False),
    ],
)
def test_a_file_that_is_only_mapped(
    file: Path, written: list[Mapping], how: str, flags: str, is_written: bool
) -> None:
    written.append(Mapping(file, how, flags))
    assert (str(file) in process.written_files(written[0].process.pid)) is is_written


@pytest.mark.skipif(not can_read_map_files(), reason="links of map_files can't be followed by this user")
def test_a_removed_file_keeps_its_name(file: Path, written: list[Mapping]) -> None:
    written.append(Mapping(file, "rw", "MAP_SHARED"))
    file.unlink()
    assert str(file) in process.written_files(written[0].process.pid)


def test_a_file_that_is_open(file: Path) -> None:
    with file.open("r+b"):
        assert str(file) in process.written_files(os.getpid())
    with file.open("rb"):
        assert str(file) not in process.written_files(os.getpid())


def test_a_process_that_is_gone_writes_nothing() -> None:
    done = subprocess.Popen(["true"])
    done.wait()
    assert process.written_files(done.pid) == set()
