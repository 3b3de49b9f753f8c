"""Extents reach the memory of another process, completely or with an error; nothing else there is touched."""

import mmap
import os
import random
import threading
import time
from array import array
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import descriptors, filled
from tests.stopped_child import StoppedChild

from glowplug.criu import calls, chunks, extents, fill
from glowplug.criu.extents import PAGE, Extent
from glowplug.errors import CriuError, ImageError, NotForced
from glowplug.host import pagecache

SIZE = 24 << 20
INNER = 7
NEVER_MAPPED = 1 << 16
"""An address below every program: what is beside other memory changes with each start (ASLR)."""


class Child(StoppedChild):
    """A stopped process with SIZE bytes of private memory, all of them b'.', and a page of it forbidden."""

    def __init__(self) -> None:
        memory = mmap.mmap(-1, SIZE + PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory[:] = b"." * len(memory)
        super().__init__(memory, SIZE)

    def read(self, at: int, length: int) -> bytes:
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as file:
            file.seek(self.address + at)
            return file.read(length)


@pytest.fixture
def child() -> Iterator[Child]:
    made = Child()
    yield made
    made.end()


@pytest.fixture
def folder(tmp_path: os.PathLike[str]) -> str:
    return os.fspath(tmp_path)


def save(folder: str, child: Child, runs: list[tuple[int, int, int]], data: bytes) -> None:
    """runs: (place in the child's memory, length, offset)."""
    with open(f"{folder}/pages-1.extent", "wb") as file:
        file.write(data)
    extents.save(folder, [extent(child, INNER, runs)])


def extent(child: Child, pid: int, runs: list[tuple[int, int, int]], private: bool = False) -> Extent:
    moved = [(child.address + place, length, offset) for place, length, offset in runs]
    return Extent("pages-1.extent", pid, extents.flat(moved), private)


def noise(pages: int) -> bytes:
    return random.Random(pages).randbytes(pages * PAGE)


def cold(folder: str) -> None:
    fd = os.open(f"{folder}/pages-1.extent", os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def soon() -> float:
    return time.monotonic() + 60


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(1, 900), st.integers(0, 300), st.integers(0, 40)), max_size=12),
    st.integers(1, 5),
    st.booleans(),
)
def test_every_run_is_written_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[int, int, int]], threads: int, warm: bool
) -> None:
    folder, child = os.fspath(tmp_path_factory.mktemp("memory")), Child()
    try:
        runs, place, offset = [], 0, 0
        for pages, gap, file_gap in pieces:
            place, offset = place + gap * PAGE, offset + file_gap * PAGE
            if place + pages * PAGE > SIZE:
                break
            runs.append((place, pages * PAGE, offset))
            place, offset = place + pages * PAGE, offset + pages * PAGE
        data = noise(offset // PAGE)
        save(folder, child, runs, data)
        if not warm:
            cold(folder)
        seen: list[tuple[int, int]] = []
        done = filled.write(
            folder, {INNER: child.pid}, soon(), lambda now, total: seen.append((now, total)), threads
        )
        wanted = bytearray(b"." * SIZE)
        for place, length, offset in runs:
            wanted[place : place + length] = data[offset : offset + length]
        assert child.read(0, SIZE) == wanted
        total = sum(length for _, length, _ in runs)
        assert done.bytes == total
        assert seen[-1] == (total, total)
        assert seen == sorted(seen)
    finally:
        child.end()


def test_a_gap_is_not_written(folder: str, child: Child) -> None:
    save(folder, child, [(0, PAGE, 0), (2 * PAGE, PAGE, 2 * PAGE)], noise(3))
    filled.write(folder, {INNER: child.pid}, soon())
    assert child.read(PAGE, PAGE) == b"." * PAGE


@pytest.mark.parametrize("warm", [True, False])
def test_a_hole_of_the_data_file_is_written_as_zeros(folder: str, child: Child, warm: bool) -> None:
    """Below a page of zeros in a run there may be a file's page, and a copy of the data may have a hole there."""
    save(folder, child, [(0, 3 * extents.HUGE, 0)], noise(1))
    os.truncate(f"{folder}/pages-1.extent", 3 * extents.HUGE)
    if not warm:
        cold(folder)
    filled.write(folder, {INNER: child.pid}, soon())
    assert child.read(0, 3 * extents.HUGE + 1) == noise(1) + bytes(3 * extents.HUGE - PAGE) + b"."


def test_a_mapping_that_is_not_there_is_an_error(folder: str, child: Child) -> None:
    save(folder, child, [(NEVER_MAPPED - child.address, PAGE, 0)], noise(1))
    with pytest.raises(CriuError, match="no such mapping"):
        filled.write(folder, {INNER: child.pid}, soon())


def test_memory_that_may_not_be_written_is_an_error(folder: str, child: Child) -> None:
    save(folder, child, [(SIZE - PAGE, 2 * PAGE, 0)], noise(2))
    with pytest.raises(CriuError, match="4096 bytes"):
        filled.write(folder, {INNER: child.pid}, soon())


def test_what_the_process_may_only_read_is_written_by_force_alone(folder: str, child: Child) -> None:
    data = noise(3)
    os.makedirs(f"{folder}/memory")
    save(f"{folder}/memory", child, [(PAGE, PAGE, 0)], data)
    save(folder, child, [(SIZE - PAGE, 2 * PAGE, PAGE)], data)
    assert calls.forces_writes()
    with fill.Fill(f"{folder}/memory", folder) as ready:
        assert filled.at_once(ready, {INNER: child.pid}, soon()).bytes == 3 * PAGE
    assert child.read(PAGE, PAGE) == data[:PAGE]
    assert child.read(SIZE - PAGE, 2 * PAGE) == data[PAGE:]


def test_no_mapping_takes_a_write_by_force_that_is_not_there(folder: str, child: Child) -> None:
    os.makedirs(f"{folder}/memory")
    save(f"{folder}/memory", child, [(PAGE, PAGE, 0)], noise(1))
    save(folder, child, [(NEVER_MAPPED - child.address, PAGE, 0)], noise(1))
    with fill.Fill(f"{folder}/memory", folder) as ready, pytest.raises(NotForced, match="no such mapping"):
        filled.at_once(ready, {INNER: child.pid}, soon())


def test_a_process_that_is_gone_is_an_error(folder: str, child: Child) -> None:
    save(folder, child, [(0, PAGE, 0)], noise(1))
    gone = Child()
    gone.end()
    with pytest.raises(CriuError, match="No such process"):
        filled.write(folder, {INNER: gone.pid}, soon())


def test_a_process_that_the_tree_lacks_is_an_error(folder: str, child: Child) -> None:
    save(folder, child, [(0, PAGE, 0)], noise(1))
    with pytest.raises(CriuError, match=f"lacks process {INNER}"):
        filled.write(folder, {1: child.pid}, soon())


def test_no_time_is_an_error(folder: str, child: Child) -> None:
    save(folder, child, [(0, SIZE, 0)], noise(SIZE // PAGE))
    with pytest.raises(CriuError, match="no time"):
        filled.write(folder, {INNER: child.pid}, time.monotonic() - 1)


@pytest.mark.parametrize("warm", [True, False])
def test_data_cut_short_after_the_check_is_the_checkpoints_fault(
    folder: str, child: Child, monkeypatch: pytest.MonkeyPatch, warm: bool
) -> None:
    save(folder, child, [(0, SIZE, 0)], noise(SIZE // PAGE))
    checked = extents.load(folder)
    monkeypatch.setattr(extents, "load", lambda _: checked)
    os.truncate(f"{folder}/pages-1.extent", SIZE // 2)
    monkeypatch.setattr(fill, "is_cached", lambda _: warm)
    with pytest.raises(ImageError, match=r"pages-1\.extent"):
        filled.write(folder, {INNER: child.pid}, soon())


def test_time_that_runs_out_midway_is_an_error(
    folder: str, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(folder, child, [(0, SIZE, 0)], noise(SIZE // PAGE))
    until = time.monotonic() + 0.5
    writes = fill._write

    def write(piece: chunks.Piece, here: "array[int]") -> None:
        time.sleep(max(0.0, until + 1 - time.monotonic()))
        writes(piece, here)

    monkeypatch.setattr(fill, "_write", write)
    with pytest.raises(CriuError, match="in time"):
        filled.write(folder, {INNER: child.pid}, until, threads=1)


def test_it_leaves_no_descriptor_and_no_thread(folder: str, child: Child) -> None:
    save(folder, child, [(0, SIZE, 0)], noise(SIZE // PAGE))
    threads = set(threading.enumerate())
    with descriptors.none_left():
        filled.write(folder, {INNER: child.pid}, soon())
        with pytest.raises(CriuError):
            filled.write(folder, {INNER: child.pid}, time.monotonic() - 1)
    assert set(threading.enumerate()) <= threads


def test_what_nobody_thought_of_in_a_thread_ends_the_fill(
    folder: str, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that died with its piece unwritten must not look like one that was done."""
    save(folder, child, [(0, SIZE, 0)], noise(SIZE // PAGE))

    def broken(*_: object) -> int:
        raise ZeroDivisionError("nobody thought of it")

    monkeypatch.setattr(fill, "_write", broken)
    with pytest.raises(ZeroDivisionError, match="nobody thought"):
        filled.write(folder, {INNER: child.pid}, soon())


def test_a_thread_that_cannot_be_started_leaves_none_writing(
    folder: str, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under a limit of processes (pids.max)."""
    import threading

    save(folder, child, [(0, SIZE, 0)], noise(SIZE // PAGE))
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def refused(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(RuntimeError, match="new thread"):
        filled.write(folder, {INNER: child.pid}, soon(), threads=4)
    assert not any(thread.is_alive() for thread in started)


def test_it_is_got_ready_before_there_is_a_process(folder: str, child: Child) -> None:
    data = noise(3)
    save(folder, child, [(0, PAGE, 0), (4 * PAGE, 2 * PAGE, PAGE)], data)
    with descriptors.none_left(), fill.Fill(folder) as ready:
        assert ready.bytes == 3 * PAGE
        os.unlink(f"{folder}/{extents.INDEX}")  # it is not read again
        assert filled.at_once(ready, {INNER: child.pid}, soon()).bytes == 3 * PAGE
    assert child.read(0, PAGE) + child.read(4 * PAGE, 2 * PAGE) == data


def test_what_is_damaged_is_found_then_and_nothing_stays_open(folder: str, child: Child) -> None:
    save(folder, child, [(0, 2 * PAGE, 0)], noise(2))
    os.truncate(f"{folder}/pages-1.extent", PAGE)
    with descriptors.none_left(), pytest.raises(ImageError):
        fill.Fill(folder)


@pytest.mark.parametrize("private", [True, False])
def test_urgent_memory_is_waited_for_alone(
    folder: str, child: Child, monkeypatch: pytest.MonkeyPatch, private: bool
) -> None:
    """What other processes may share, an urgent one among them, is urgent as well."""
    other = Child()
    data = noise(4)
    with open(f"{folder}/pages-1.extent", "wb") as file:
        file.write(data)
    # The other's comes first in the list.
    extents.save(
        folder,
        [
            extent(other, INNER + 1, [(0, 2 * PAGE, 0)], private),
            extent(child, INNER, [(0, 2 * PAGE, 2 * PAGE)], True),
        ],
    )
    may_be_written, started = threading.Event(), threading.Event()
    writes = fill._write

    def write(piece: chunks.Piece, here: "array[int]") -> None:
        if piece.pid == other.pid:
            started.set()
            may_be_written.wait(60)
        writes(piece, here)

    monkeypatch.setattr(fill, "_write", write)
    hosts = {INNER: child.pid, INNER + 1: other.pid}
    try:
        with fill.Fill(folder) as ready, ready.begin(hosts, soon(), [INNER], threads=1) as writing:
            if private:
                writing.wait_urgent()
                assert child.read(0, 2 * PAGE) == data[2 * PAGE :]
            else:
                assert started.wait(60)
                assert writing._urgent_left == 2
            assert other.read(0, PAGE) == b"." * PAGE
            may_be_written.set()
            assert writing.wait().bytes == len(data)
        assert other.read(0, 2 * PAGE) == data[: 2 * PAGE]
    finally:
        may_be_written.set()
        other.end()


def test_an_end_before_all_is_written_leaves_no_thread(
    folder: str, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CRIU has failed: nobody waits for the memory any more."""
    save(folder, child, [(0, SIZE, 0)], noise(SIZE // PAGE))
    threads = set(threading.enumerate())
    begun = threading.Event()
    writes = fill._write

    def write(piece: chunks.Piece, here: "array[int]") -> None:
        begun.set()
        writes(piece, here)

    monkeypatch.setattr(fill, "_write", write)
    with descriptors.none_left(), fill.Fill(folder) as ready:
        with ready.begin({INNER: child.pid}, soon()):
            assert begun.wait(60)
        assert set(threading.enumerate()) <= threads


def test_holes_between_runs_are_not_looked_at(
    folder: str, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would fill the page cache with zeros, and a tmpfs for good; and a piece with many of them is cached all the
    same."""
    hole = 16 * PAGE
    runs = [(at * 2 * hole, PAGE, at * (hole + PAGE)) for at in range(100)]
    data = noise(100)
    with open(f"{folder}/pages-1.extent", "wb") as file:
        for number in range(100):
            file.write(data[number * PAGE : (number + 1) * PAGE])
            file.seek(hole, os.SEEK_CUR)
    extents.save(folder, [extent(child, INNER, runs)])
    before = cached_pages(folder)

    def read(*_: object) -> int:
        raise AssertionError("a piece that is in the page cache was read from the disk")

    monkeypatch.setattr(chunks.Buffer, "read", read)
    filled.write(folder, {INNER: child.pid}, soon())
    assert before <= 100 + 16
    assert cached_pages(folder) == before
    for number, (place, length, _) in enumerate(runs):
        assert child.read(place, length) == data[number * PAGE : (number + 1) * PAGE]


def cached_pages(folder: str) -> int:
    fd = os.open(f"{folder}/pages-1.extent", os.O_RDONLY)
    try:
        return pagecache._cached_pages(fd, 0, 0)
    finally:
        os.close(fd)
