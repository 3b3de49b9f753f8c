"""Whatever cuts an apply short, the upper directory comes back exactly as it was."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator

import pytest
from tests.layer_made import Facts, Overlay, listing, needs_root

from glowplug.errors import LayerError
from glowplug.layer import overlay, syscalls, tree

pytestmark = needs_root

Call = Callable[[], object]


class Snapshot:
    """A captured tree and another container's upper directory that already holds something."""

    def __init__(self, place: str, cache: str) -> None:
        self.place, self.dest, self.record = place, f"{cache}/tree", f"{cache}/record"
        os.makedirs(f"{self.dest}/dir")
        for name in ("file", "dir/file"):
            with open(f"{self.dest}/{name}", "wb") as file:
                file.write(name.encode() * 5000)
        os.link(f"{self.dest}/file", f"{self.dest}/dir/link")
        os.mknod(f"{self.dest}/dir/gone", 0o020000)
        os.setxattr(f"{self.dest}/dir", "trusted.overlay.opaque", b"y")
        self.make_upper()

    def make_upper(self) -> None:
        self.overlay = Overlay(f"{self.place}/snapshot", f"{self.place}/lower")
        self.upper = self.overlay.upper
        os.makedirs(f"{self.upper}/dir/mounted", mode=0o711)
        with open(f"{self.upper}/file", "w") as file:
            file.write("was here")
        os.setxattr(f"{self.upper}/dir", "trusted.overlay.impure", b"y")
        os.utime(f"{self.upper}/dir", ns=(1, 2_000_000_003))

    def apply(self) -> None:
        tree.apply(self.dest, self.upper, self.record)

    def state(self) -> tuple[dict[bytes, Facts], list[str], int]:
        return listing(self.upper), sorted(os.listdir(f"{self.place}/snapshot")), os.stat(self.upper).st_ino


@pytest.fixture
def snapshot(tmp_path: object) -> Snapshot:
    return Snapshot(str(tmp_path), str(tmp_path))


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the look at the node's mounts: how many system calls that takes depends on who mounts what meanwhile."""
    monkeypatch.setattr(overlay, "refuse_mounted", lambda upper: None)


def asks_the_kernel(event: str, function: object) -> bool:
    """Whether a profiler's event is a call that may be a system call."""
    return event == "c_call" and getattr(function, "__module__", "") in ("posix", "_io", "fcntl")


def killed_at(number: int, work: Call) -> bool:
    """Do `work` in a child that gets SIGKILL before its `number`th system call; False when it ended."""
    child = os.fork()
    if child == 0:
        left = number

        def count(_frame: object, event: str, function: object) -> None:
            nonlocal left
            left -= asks_the_kernel(event, function)
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count)
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL)
    return status != 0


def kill_points(work: Call, reset: Call) -> Iterator[int]:
    """Every system call of `work`, one after the other, killed there."""
    number = 0
    while True:
        number += 1
        reset()
        if not killed_at(number, work):
            assert number > 1
            return
        yield number


def test_undo_brings_back_the_very_directory(snapshot: Snapshot) -> None:
    before = snapshot.state()
    snapshot.apply()
    assert snapshot.state() != before
    with snapshot.overlay:
        with open(f"{snapshot.overlay.merged}/dir/written since", "w") as file:
            file.write("by a process that is thrown away")
        os.unlink(f"{snapshot.overlay.merged}/file")
    tree.undo(snapshot.record)
    assert snapshot.state() == before
    tree.undo(snapshot.record)
    assert snapshot.state() == before
    assert not os.path.exists(snapshot.record)


@pytest.mark.usefixtures("alone")
def test_killed_apply_is_undone_from_the_record(snapshot: Snapshot) -> None:
    before = snapshot.state()
    exchanged = 0
    for number in kill_points(snapshot.apply, lambda: tree.undo(snapshot.record)):
        exchanged += os.stat(snapshot.upper).st_ino != before[2]
        tree.undo(snapshot.record)
        assert snapshot.state() == before, number
        assert not os.path.exists(snapshot.record) and not os.path.exists(snapshot.record + ".new")
    assert exchanged > 0


@pytest.mark.usefixtures("alone")
def test_killed_undo_is_undone_again(snapshot: Snapshot) -> None:
    before = snapshot.state()

    def reset() -> None:
        tree.undo(snapshot.record)
        snapshot.apply()

    for number in kill_points(lambda: tree.undo(snapshot.record), reset):
        tree.undo(snapshot.record)
        assert snapshot.state() == before, number


@pytest.mark.usefixtures("alone")
def test_killed_finish_never_brings_half_of_the_old_back(snapshot: Snapshot) -> None:
    """After a finish the layer stays, or the old directory comes back intact."""
    before = listing(snapshot.upper, times=False)
    snapshot.apply()
    applied = listing(snapshot.upper, times=False)

    def reset() -> None:
        shutil.rmtree(f"{snapshot.place}/snapshot")
        tree.undo(snapshot.record)
        snapshot.make_upper()
        snapshot.apply()

    undone = 0
    for _ in kill_points(lambda: tree.finish(snapshot.record), reset):
        tree.undo(snapshot.record)
        now = listing(snapshot.upper, times=False)
        assert now in (before, applied)
        undone += now == before
    assert undone > 0


def test_finish_leaves_nothing_beside(snapshot: Snapshot) -> None:
    snapshot.apply()
    applied = listing(snapshot.upper)
    tree.finish(snapshot.record)
    assert sorted(os.listdir(f"{snapshot.place}/snapshot")) == ["fs", "merged", "work"]
    assert not os.path.exists(snapshot.record)
    tree.finish(snapshot.record)
    tree.undo(snapshot.record)
    assert listing(snapshot.upper) == applied


def test_an_exception_from_a_signal_handler_undoes(snapshot: Snapshot) -> None:
    before = snapshot.state()

    class Deadline(BaseException):
        pass

    left = 0

    def interrupt(_signal: int, _frame: object) -> None:
        raise Deadline

    def count(_frame: object, event: str, function: object) -> None:
        nonlocal left
        left -= asks_the_kernel(event, function)
        if left == 0:
            sys.setprofile(None)
            os.kill(os.getpid(), signal.SIGUSR1)

    previous = signal.signal(signal.SIGUSR1, interrupt)
    try:
        for number in range(20, 120, 9):
            left = number
            with pytest.raises(Deadline):
                sys.setprofile(count)
                snapshot.apply()
            assert snapshot.state() == before
            assert not os.path.exists(snapshot.record)
    finally:
        sys.setprofile(None)
        signal.signal(signal.SIGUSR1, previous)


def test_a_snapshot_that_is_gone_needs_no_undo(snapshot: Snapshot) -> None:
    snapshot.apply()
    shutil.rmtree(f"{snapshot.place}/snapshot")
    tree.undo(snapshot.record)
    assert not os.path.exists(snapshot.record)
    assert not os.path.exists(f"{snapshot.place}/snapshot")


def test_no_second_apply_before_the_first_is_undone(snapshot: Snapshot) -> None:
    snapshot.apply()
    state = snapshot.state()
    for record in (snapshot.record, snapshot.record + "2"):
        with pytest.raises(LayerError):
            tree.apply(snapshot.dest, snapshot.upper, record)
    assert snapshot.state() == state


def test_a_record_of_something_else_is_refused(snapshot: Snapshot) -> None:
    for content in ("", "[]", '{"version": 99}'):
        with open(snapshot.record, "w") as file:
            file.write(content)
        with pytest.raises(LayerError, match="record"):
            tree.undo(snapshot.record)


@pytest.mark.parametrize(
    "limit", ["size=8k", "size=64k", "size=128k", "nr_inodes=10", "nr_inodes=12", "nr_inodes=14"]
)
def test_full_disk(tmp_path: object, limit: str) -> None:
    """The upper directory is on a small file system; the tree does not fit beside it."""
    small = f"{tmp_path}/small"
    os.mkdir(small)
    syscalls.mount("tmpfs", small, "tmpfs", 0, "size=1m")
    try:
        snapshot = Snapshot(small, str(tmp_path))
        with open(f"{snapshot.dest}/dir/big", "wb") as file:
            file.write(b"x" * 120000)
        syscalls.mount("tmpfs", small, "tmpfs", 0x20, limit)
        before = snapshot.state()
        with pytest.raises(LayerError, match="No space left"):
            snapshot.apply()
        assert snapshot.state() == before
        assert not os.path.exists(snapshot.record)
    finally:
        syscalls.umount2(small, 0)


def test_full_disk_for_a_capture(snapshot: Snapshot, tmp_path: object) -> None:
    small = f"{tmp_path}/small"
    os.mkdir(small)
    syscalls.mount("tmpfs", small, "tmpfs", 0, "size=32k")
    try:
        with pytest.raises(LayerError, match="No space left"):
            tree.capture(snapshot.dest, f"{small}/copy")
        assert os.listdir(small) == []
    finally:
        syscalls.umount2(small, 0)


def test_no_space_for_the_record(snapshot: Snapshot, tmp_path: object) -> None:
    before = snapshot.state()
    small = f"{tmp_path}/small"
    os.mkdir(small)
    syscalls.mount("tmpfs", small, "tmpfs", 0, "size=4k")
    try:
        with open(f"{small}/filler", "wb") as file:
            file.write(b"x" * 4096)
        with pytest.raises(LayerError, match="No space left"):
            tree.apply(snapshot.dest, snapshot.upper, f"{small}/record")
        assert os.listdir(small) == ["filler"]
    finally:
        syscalls.umount2(small, 0)
    assert snapshot.state() == before
