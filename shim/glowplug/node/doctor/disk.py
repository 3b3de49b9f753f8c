"""The disk of the cache: space, and how fast it is, measured with a file that is gone afterwards."""

import fcntl
import mmap
import os
import tempfile
import time
from dataclasses import dataclass

from glowplug.cache import layout
from glowplug.config import min_free
from glowplug.errors import HostError
from glowplug.node.doctor.finding import Finding, ok, warning, wrong
from glowplug.node.doctor.probes import Probes

MEASURED_BYTES = 256 << 20
BLOCK_BYTES = 4 << 20
MEASURED_S = 2.0
"""The writing ends after this time, and so does the reading, however little was done by then."""

MODEST_CHECKPOINT_BYTES = 10_000_000_000
"""A model of a few billion parameters; a disk that can't read as much within a restore's deadline is too slow."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Bytes in a second. `direct`: whether past the page cache; a file system in memory can't."""

    write: float
    read: float
    direct: bool


def space(probes: Probes) -> Finding:
    """OSError: the file system can't be queried."""
    config = probes.config
    directory = _existing(config.cache)
    found = os.statvfs(directory)
    read_only = bool(found.f_flag & os.ST_RDONLY)
    return judge_space(found.f_bavail * found.f_frsize, min_free(config), directory, read_only)


def judge_space(free: int, floor: int, directory: str, read_only: bool = False) -> Finding:
    """Sizes in bytes; what is under the floor is left free by captures. `read_only`: of its file system."""
    if read_only:
        want = "to be written: each restore notes there that it uses a checkpoint"
        return wrong(
            f"{directory} is read-only", want, "look after its disk (dmesg), then mount it read-write"
        )
    text = f"{_gb(free)} free in {directory}"
    if free > floor + MODEST_CHECKPOINT_BYTES:
        return ok(text)
    want = (
        f"{_gb(floor + MODEST_CHECKPOINT_BYTES)}: {_gb(floor)} stay free, a checkpoint takes up to its memory"
    )
    fix = "glowplug gc, or a larger disk, or a lower min_free_bytes"
    return warning(text, want, fix)


def compile_caches(probes: Probes) -> Finding:
    """How many are kept, and what they take. OSError: they can't be looked at."""
    try:
        entries = list(os.scandir(layout.compile_caches(probes.config.cache)))
    except FileNotFoundError:
        entries = []
    taken = sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    return ok(f"{len(entries)} kept, {taken / 1e6:.0f} MB" if entries else "none kept")


def speed(probes: Probes) -> Finding:
    """HostError: no space to measure; OSError: the disk failed."""
    config = probes.config
    directory = _existing(config.cache)
    found = os.statvfs(directory)
    if found.f_bavail * found.f_frsize < min_free(config) + MEASURED_BYTES:
        raise HostError(f"not measured: it takes {MEASURED_BYTES >> 20} MiB, which are not free")
    return judge_speed(measure(directory), config.restore_deadline_s)


def judge_speed(found: Speed, deadline_s: float) -> Finding:
    """`deadline_s`: a restore's, in seconds."""
    text = f"reads {found.read / 1e6:.0f} MB/s, writes {found.write / 1e6:.0f} MB/s"
    if not found.direct:
        return warning(
            f"{text}, in memory", "a disk: the cache goes when the node restarts", "set `cache` to a disk"
        )
    if found.read * deadline_s >= MODEST_CHECKPOINT_BYTES:
        return ok(f"{text}; {_gb(found.read * deadline_s)} in the {deadline_s:g} s of a restore")
    least = MODEST_CHECKPOINT_BYTES / deadline_s / 1e6
    want = f"{least:.0f} MB/s: {_gb(MODEST_CHECKPOINT_BYTES)} read in the {deadline_s:g} s of a restore"
    return warning(text, want, "set `cache` to a directory of a faster disk")


def measure(directory: str) -> Speed:
    """Write a file there that has no name, see it on the disk, and read it back. OSError."""
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file, mmap.mmap(-1, BLOCK_BYTES) as block:
        block.write(os.urandom(BLOCK_BYTES))  # a disk may squeeze zeroes
        direct = _bypass_cache(file.fileno())
        return Speed(_write(file.fileno(), block), _read(file.fileno(), block), direct)


def _write(fd: int, block: mmap.mmap) -> float:
    before, done = time.monotonic(), 0
    while done < MEASURED_BYTES and time.monotonic() < before + MEASURED_S:
        done += os.pwrite(fd, block, done)
    os.fsync(fd)
    return done / (time.monotonic() - before)


def _read(fd: int, block: mmap.mmap) -> float:
    before, done = time.monotonic(), 0
    while time.monotonic() < before + MEASURED_S:
        count = os.preadv(fd, [block], done)
        if not count:
            break
        done += count
    return done / (time.monotonic() - before)


def _bypass_cache(fd: int) -> bool:
    """O_DIRECT from now on (open(2)); False where the file system has none."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_DIRECT)
    except OSError:
        return False
    return True


def _existing(path: str) -> str:
    """The directory itself, or the nearest above it that is there."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _gb(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
