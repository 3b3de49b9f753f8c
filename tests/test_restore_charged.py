"""What is written into a pod's tmpfs is written by a child in the pod's memory group; its failures are ours."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import descriptors

from glowplug.errors import LayerError
from glowplug.host import cgroup, cgroup_fork, proc
from glowplug.restore import charged
from glowplug.restore.attempt import Attempt
from glowplug.restore.journal import Journal

NOWHERE = Attempt(Journal("c1", cgroups_path="/no-such-group-of-glowplug/pod/c1"), -1)


def test_it_is_done_where_there_is_no_such_group(tmp_path: Path) -> None:
    charged.in_pod(NOWHERE, lambda: (tmp_path / "made").touch())
    assert (tmp_path / "made").exists()


def test_no_group_is_made_for_a_pod_that_has_none() -> None:
    charged.in_pod(NOWHERE, lambda: None)
    assert cgroup.directories("/no-such-group-of-glowplug", systemd=False) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LayerError("the new pod's shared memory has another 'x'"), "has another 'x'"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (KeyError("links"), "KeyError"),
    ],
)
def test_what_it_raises_is_said_here(error: Exception, said: str) -> None:
    def work() -> None:
        raise error

    with pytest.raises(LayerError, match=said):
        charged.in_pod(NOWHERE, work)


def test_one_that_the_pod_s_limit_kills_has_failed() -> None:
    with pytest.raises(LayerError, match="status -9"):
        charged.in_pod(NOWHERE, lambda: os.kill(os.getpid(), 9))


def test_on_v1_it_is_the_pod_s_on_v2_the_container_s(monkeypatch: pytest.MonkeyPatch) -> None:
    unified = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    monkeypatch.setattr(cgroup, "mountpoints", lambda: ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu"])
    monkeypatch.setattr(cgroup, "_counts_memory", lambda mount: mount.endswith("/memory"))
    found = cgroup.memory_groups("/kubepods/pod1/c1", systemd=False)
    assert found == ["/sys/fs/cgroup/kubepods/pod1/c1" if unified else "/sys/fs/cgroup/memory/kubepods/pod1"]
    assert cgroup.memory_groups("", systemd=False) == []


@pytest.fixture
def group(tmp_path: Path) -> Iterator[str]:
    """A group of the unified hierarchy."""
    mounted = not os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    root = str(tmp_path / "unified") if mounted else "/sys/fs/cgroup"
    if mounted:
        os.mkdir(root)
        subprocess.run(["mount", "-t", "cgroup2", "none", root], check=True)
    directory = f"{root}/glowplug-charged-{os.getpid()}"
    try:
        os.mkdir(directory)
        yield directory
    finally:
        os.rmdir(directory)
        if mounted:
            subprocess.run(["umount", root], check=True)


def test_on_v2_the_child_is_in_the_group_from_the_beginning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, group: str
) -> None:
    monkeypatch.setattr(cgroup, "version", lambda: 2)
    monkeypatch.setattr(cgroup, "memory_groups", lambda _path, _systemd: [group])
    monkeypatch.setattr(charged, "enter", lambda *_: pytest.fail("it entered the group later"))
    charged.in_pod(NOWHERE, lambda: note_groups(tmp_path / "in"))
    assert f"'/{os.path.basename(group)}'" in (tmp_path / "in").read_text()
    with pytest.raises(LayerError, match="no space"):
        charged.in_pod(NOWHERE, lambda: fail("no space"))


def note_groups(path: Path) -> None:
    path.write_text(str(proc.cgroups(os.getpid())))


def fail(said: str) -> None:
    raise LayerError(said)


def test_where_no_child_can_be_made_in_it_one_enters_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, group: str
) -> None:
    def too_old(directory: str) -> int:
        raise OSError(38, "Function not implemented", directory)

    monkeypatch.setattr(cgroup, "version", lambda: 2)
    monkeypatch.setattr(cgroup, "memory_groups", lambda _path, _systemd: [group])
    monkeypatch.setattr(cgroup_fork, "fork_into", too_old)
    charged.in_pod(NOWHERE, lambda: note_groups(tmp_path / "in"))
    assert f"'/{os.path.basename(group)}'" in (tmp_path / "in").read_text()


def test_a_group_that_is_not_there_is_an_error_and_no_child(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        cgroup_fork.fork_into(str(tmp_path / "none"))
    with pytest.raises(OSError, match=str(tmp_path)):
        cgroup_fork.fork_into(str(tmp_path))


def test_it_is_done_beside_what_follows_until_it_is_waited_for(tmp_path: Path) -> None:
    hear, say = os.pipe()

    def work() -> None:
        os.read(hear, 1)
        (tmp_path / "made").touch()

    begun = charged.Charged(NOWHERE, work)
    os.write(say, b"!")
    begun.wait()
    assert (tmp_path / "made").exists()
    begun.end()  # nothing is left to end


def test_one_that_is_ended_writes_no_more(tmp_path: Path) -> None:
    """A step beside it has failed: what it wrote is taken back next."""
    hear, _say = os.pipe()

    def work() -> None:
        os.read(hear, 1)
        (tmp_path / "made").touch()

    with descriptors.none_left():
        begun = charged.Charged(NOWHERE, work)
        pid = begun._pid
        begun.end()
    assert not os.path.exists(f"/proc/{pid}")
    assert not (tmp_path / "made").exists()
