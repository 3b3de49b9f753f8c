"""A container's control groups: their paths, who is in them, and their end, also that of one that does not end."""

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from glowplug.errors import HostError
from glowplug.host import cgroup


@pytest.mark.parametrize(
    ("path", "systemd", "found"),
    [
        ("/kubepods/burstable/pod1/c1", False, "kubepods/burstable/pod1/c1"),
        (
            "kubepods-pod1.slice:cri-containerd:c1",
            True,
            "kubepods.slice/kubepods-pod1.slice/cri-containerd-c1.scope",
        ),
        ("a-b-c.slice:x:c1", True, "a.slice/a-b.slice/a-b-c.slice/x-c1.scope"),
        (":cri-containerd:c1", True, "system.slice/cri-containerd-c1.scope"),
        ("system.slice::c1", True, "system.slice/c1.scope"),
        ("-.slice:x:c1", True, "x-c1.scope"),
        ("/plain/c1", True, "plain/c1"),
        ("a:b:c", False, "a:b:c"),
    ],
)
def test_where_it_is(path: str, systemd: bool, found: str) -> None:
    assert cgroup.relative(path, systemd) == found


@pytest.mark.parametrize("path", ["", "/", "/../kubepods", "a/../../b"])
def test_a_path_that_names_none_is_refused(path: str) -> None:
    with pytest.raises(HostError, match=r"expected linux\.cgroupsPath to name a cgroup"):
        cgroup.relative(path, False)


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """A directory that looks like a cgroup with another one in it; processes stay listed until the file changes."""
    (tmp_path / "c1/below").mkdir(parents=True)
    for name in ("c1", "c1/below"):
        (tmp_path / name / "cgroup.procs").write_text("")
    return tmp_path / "c1"


@pytest.fixture
def zombie() -> Iterator[int]:
    """A process that stays, whatever it is sent: nobody waits for it."""
    process = subprocess.Popen(["sleep", "60"])
    yield process.pid
    process.kill()
    process.wait(timeout=60)


def test_who_is_in_it(group: Path) -> None:
    (group / "cgroup.procs").write_text("0\n7\n8\n")
    (group / "below/cgroup.procs").write_text("9\n")
    assert cgroup.pids([str(group), f"{group}/none"]) == {7, 8, 9}


def test_all_are_killed_until_none_is_left(group: Path, zombie: int) -> None:
    listed = group / "below/cgroup.procs"
    listed.write_text(f"{zombie}\n")
    emptied = threading.Timer(0.2, lambda: listed.write_text(""))
    emptied.start()
    cgroup.kill([str(group)], 20)
    emptied.join()


def test_one_that_does_not_die_is_reported(group: Path, zombie: int) -> None:
    (group / "cgroup.procs").write_text(f"{zombie}\n999999999\n")
    with pytest.raises(HostError) as raised:
        cgroup.kill([str(group)], 0.1)
    assert (
        f"{zombie} (sleep), 999999999 (?) still alive 0.1 s after SIGKILL: they are stuck in the kernel"
        in str(raised.value)
    )


@pytest.mark.parametrize(("name", "value"), [("freezer.state", "THAWED"), ("cgroup.freeze", "0")])
def test_a_frozen_one_is_thawed_to_die(name: str, value: str, group: Path) -> None:
    (group / name).write_text("FROZEN")
    (group / "cgroup.procs").write_text("999999999\n")
    with pytest.raises(HostError):
        cgroup.kill([str(group)], 0)
    assert (group / name).read_text() == value


def test_the_empty_ones_are_removed_from_below(group: Path) -> None:
    for name in ("cgroup.procs", "below/cgroup.procs"):
        (group / name).unlink()  # in a cgroup they go with it
    cgroup.remove([str(group), f"{group}/none"])
    assert not group.exists()
