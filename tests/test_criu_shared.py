"""Shared memory that a helper puts in place: the same bytes, or the threads write them."""

import fcntl
import mmap
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import descriptors, filled
from tests.stopped_child import StoppedChild

from glowplug.criu import calls, chunks, extents, shared
from glowplug.criu.chunks import Piece
from glowplug.criu.extents import PAGE, Extent
from glowplug.errors import CriuError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another process's mappings as files")

SIZE = 40 << 20
INNER = 7
DOTS = 4 * PAGE  # in no run
_F_SEAL_FUTURE_WRITE = 0x10  # linux/fcntl.h; Python has no name for it


class Child(StoppedChild):
    """A stopped process with SIZE bytes of shared memory, a page in it b'.', and after it a page it may only read.

    sealed: its file in memory lets nobody write from then on but through mappings that are there.
    """

    def __init__(self, sealed: bool = False) -> None:
        fd = os.memfd_create("shared", os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, SIZE + PAGE)
        self.memory = mmap.mmap(fd, SIZE + PAGE)
        if sealed:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _F_SEAL_FUTURE_WRITE)
        os.close(fd)
        self.memory[DOTS : DOTS + PAGE] = b"." * PAGE
        super().__init__(self.memory, SIZE)

    @property
    def resident(self) -> int:
        """Bytes of shared memory in its page tables (proc_pid_status(5))."""
        with open(f"/proc/{self.pid}/status") as lines:
            return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssShmem:"))


@pytest.fixture
def child() -> Iterator[Child]:
    made = Child()
    yield made
    made.end()


@pytest.fixture
def folder(tmp_path: os.PathLike[str]) -> str:
    return os.fspath(tmp_path)


BEFORE: set[int] = set()
"""Children that other files' tests left to this process."""


def children() -> list[int]:
    """Those of this test."""
    return [pid for pid in all_children() if pid not in BEFORE]


@pytest.fixture(autouse=True)
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    BEFORE.clear()
    BEFORE.update(all_children())
    monkeypatch.setattr(shared, "LEAST", PAGE)
    monkeypatch.setattr(shared, "_in_small_pages", lambda: True)


def save(folder: str, child: Child, runs: list[tuple[int, int]]) -> bytes:
    """runs: (place in the child's memory, length), from the same places of the file; the file."""
    data = random.Random(len(runs)).randbytes(SIZE + PAGE)
    with open(f"{folder}/pages-1.extent", "wb") as file:
        file.write(data)
    moved = [(child.address + place, length, place) for place, length in runs]
    extents.save(folder, [Extent("pages-1.extent", INNER, extents.flat(moved))])
    return data


def soon() -> float:
    return time.monotonic() + 60


RUNS = [(0, 3 * PAGE), (5 * PAGE, 20 << 20), (30 << 20, SIZE - (30 << 20))]


BYTES = sum(length for _, length in RUNS)


def wanted(data: bytes) -> bytes:
    complete = bytearray(SIZE)
    complete[DOTS : DOTS + PAGE] = b"." * PAGE
    for place, length in RUNS:
        complete[place : place + length] = data[place : place + length]
    return bytes(complete)


def test_every_run_is_written_and_nothing_else(folder: str, child: Child) -> None:
    data = save(folder, child, RUNS)
    done = filled.write(folder, {INNER: child.pid}, soon())
    assert child.memory[:SIZE] == wanted(data)
    assert done.helped == done.bytes == BYTES


def test_what_the_helper_wrote_is_in_the_page_tables_of_the_process(folder: str, child: Child) -> None:
    """Or who pins the memory next, as a driver does, finds it page by page."""
    save(folder, child, RUNS)
    assert child.resident == 0
    assert filled.write(folder, {INNER: child.pid}, soon()).helped == BYTES
    assert child.resident >= BYTES - (1 << 20)  # the kernel counts in batches


def cannot_enter(*_: object) -> None:
    raise PermissionError(13, "Permission denied")


def is_killed(*_: object) -> bool:
    os.kill(os.getpid(), signal.SIGKILL)
    return True


@pytest.mark.parametrize(
    ("where", "name", "instead"),
    [
        (shared, "_enter", cannot_enter),
        (calls, "userfault", cannot_enter),
        (shared, "_put", is_killed),
    ],
    ids=["no-cgroup", "no-userfaultfd", "killed"],
)
def test_without_its_helper_the_threads_writes_everything(
    folder: str, child: Child, monkeypatch: pytest.MonkeyPatch, where: object, name: str, instead: object
) -> None:
    monkeypatch.setattr(where, name, instead)
    data = save(folder, child, RUNS)
    assert filled.write(folder, {INNER: child.pid}, soon()).helped == 0
    assert child.memory[:SIZE] == wanted(data)


def test_a_piece_of_which_a_page_is_there_already_is_written_by_the_threads(
    folder: str, child: Child
) -> None:
    child.memory[25 << 20 : (25 << 20) + 1] = b"!"
    child.memory[SIZE - 1 : SIZE] = b"!"
    data = save(folder, child, RUNS)
    done = filled.write(folder, {INNER: child.pid}, soon())
    assert 0 < done.helped < done.bytes
    complete = bytearray(wanted(data))
    complete[25 << 20] = ord("!")  # in no run
    assert child.memory[:SIZE] == complete


def test_an_object_that_takes_no_write_is_filled_through_its_mapping(folder: str) -> None:
    child = Child(sealed=True)
    try:
        data = save(folder, child, RUNS)
        assert filled.write(folder, {INNER: child.pid}, soon()).helped == 0
        assert child.memory[:SIZE] == wanted(data)
    finally:
        child.end()


def test_what_the_process_may_not_write_is_an_error(folder: str, child: Child) -> None:
    """A mapping of the helper's own would not see it."""
    save(folder, child, [(SIZE - PAGE, 2 * PAGE)])
    with pytest.raises(CriuError, match="4096 bytes"):
        filled.write(folder, {INNER: child.pid}, soon())
    assert child.memory[SIZE:] == bytes(PAGE)


@pytest.mark.parametrize(
    ("name", "instead"), [("LEAST", SIZE), ("_in_small_pages", lambda: False)], ids=["little", "huge-pages"]
)
def test_no_process_is_made_where_it_is_not_worth_one(
    folder: str, child: Child, monkeypatch: pytest.MonkeyPatch, name: str, instead: object
) -> None:
    monkeypatch.setattr(shared, name, instead)
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("a process was made"))
    save(folder, child, RUNS)
    assert filled.write(folder, {INNER: child.pid}, soon()).helped == 0


def test_it_is_gone_after_success_and_after_an_error(folder: str, child: Child) -> None:
    save(folder, child, RUNS)
    with descriptors.none_left():
        filled.write(folder, {INNER: child.pid}, soon())
    assert children() == [child.pid]
    with descriptors.none_left(), pytest.raises(CriuError):
        filled.write(folder, {INNER: child.pid}, time.monotonic() - 1)
    assert children() == [child.pid]


def all_children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]


@pytest.mark.parametrize(
    ("limit", "enters"),
    [("max 100000", True), ("200000 100000", True), ("199999 100000", False), (None, True)],
)
def test_a_cgroup_with_little_cpu_time_is_not_entered(
    tmp_path: Path, limit: str | None, enters: bool
) -> None:
    (tmp_path / "cgroup.procs").write_text("")
    if limit is not None:
        (tmp_path / "cpu.max").write_text(f"{limit}\n")
    if enters:
        shared._enter(f"{tmp_path}")
    else:
        with pytest.raises(OSError, match="busy"):
            shared._enter(f"{tmp_path}")
    assert (tmp_path / "cgroup.procs").read_text() == ("0" if enters else "")


def test_it_ends_when_the_one_who_restores_is_killed(
    folder: str, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would keep the gate's pipes, and the tree would wait forever."""
    save(folder, child, RUNS)
    puts = shared._put

    def slow(piece: Piece, userfault: int, shift: int) -> bool:
        time.sleep(2)
        return puts(piece, userfault, shift)

    monkeypatch.setattr(shared, "_put", slow)
    monkeypatch.setattr(chunks, "PIECE", 2 << 20)
    [extent] = extents.load(folder)
    parts = [
        piece._replace(pid=child.pid) for piece in chunks.cut(extent, chunks.open_file(folder, extent.data))
    ]
    restorer = os.fork()
    if restorer == 0:
        with open(f"{folder}/helper", "w") as file:
            file.write(str(shared.Helper(parts, 1)._pid))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(restorer, 0)
    with open(f"{folder}/helper") as file:
        helper = int(file.read())
    assert helper > 0
    until = time.monotonic() + 20  # to put all pieces takes it 32
    while is_running(helper):
        assert time.monotonic() < until, "the helper outlived the restore"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_time_that_runs_out_ends_it(folder: str, child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    save(folder, child, RUNS)
    monkeypatch.setattr(shared, "_put", lambda *_: time.sleep(60))
    began = time.monotonic()
    with pytest.raises(CriuError, match="in time"):
        filled.write(folder, {INNER: child.pid}, began + 0.5)
    assert time.monotonic() < began + 30
    assert children() == [child.pid]


def test_what_the_threads_meets_while_it_works_ends_it(
    folder: str, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: shared.Helper) -> Iterator[int]:
        raise ZeroDivisionError("nobody thought of it")

    save(folder, child, RUNS)
    monkeypatch.setattr(shared.Helper, "done", broken)
    with pytest.raises(ZeroDivisionError, match="nobody thought"):
        filled.write(folder, {INNER: child.pid}, soon())
    assert children() == [child.pid]
