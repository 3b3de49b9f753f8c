"""A restored /dev gets the new spec's NVIDIA nodes, and nothing outside the container is ever touched."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence

import pytest

from glowplug.checkpoint import bundle
from glowplug.checkpoint.bundle import BundleFacts
from glowplug.cuda import devnodes
from glowplug.errors import CudaError

root = pytest.mark.skipif(os.geteuid() != 0, reason="makes device nodes")


def facts(*nodes: tuple[str, int, int], mounts: Sequence[Mapping[str, object]] = ()) -> BundleFacts:
    devices = [{"path": path, "type": "c", "major": major, "minor": minor} for path, major, minor in nodes]
    return bundle.read({"linux": {"devices": devices}, "mounts": [*mounts]})


ZERO, ONE = ("/dev/nvidia0", 195, 0), ("/dev/nvidia1", 195, 1)


def test_only_nvidia_nodes_directly_in_dev_are_wanted() -> None:
    others = [("/dev/nvidia-caps/nvidia-cap1", 1, 1), ("/dev/null", 1, 3), ("/opt/nvidia0", 195, 0)]
    found = devnodes.wanted_nodes(facts(ZERO, ("/dev/nvidia-uvm", 505, 0), *others))
    assert found == {"nvidia0": (195, 0, 0o666, 0, 0), "nvidia-uvm": (505, 0, 0o666, 0, 0)}


def test_mode_and_owner_are_the_specs() -> None:
    node = {
        "path": "/dev/nvidia0",
        "type": "c",
        "major": 195,
        "minor": 0,
        "fileMode": 0o20600,
        "uid": 7,
        "gid": 8,
    }
    assert devnodes.wanted_nodes(bundle.read({"linux": {"devices": [node]}})) == {
        "nvidia0": (195, 0, 0o600, 7, 8)
    }


@pytest.mark.parametrize(
    ("present", "wanted", "result"),
    [
        ({"nvidia0": (195, 0)}, [ONE], (["nvidia0"], ["nvidia1"])),
        ({"nvidia0": (195, 0)}, [ZERO], ([], [])),
        ({"nvidia-uvm": (505, 0)}, [("/dev/nvidia-uvm", 506, 0)], (["nvidia-uvm"], ["nvidia-uvm"])),
        ({"nvidia0": (-1, -1)}, [ZERO], (["nvidia0"], ["nvidia0"])),
        ({"nvidia0": (195, 0)}, [], (["nvidia0"], [])),
    ],
)
def test_swaps(
    present: dict[str, tuple[int, int]],
    wanted: list[tuple[str, int, int]],
    result: tuple[list[str], list[str]],
) -> None:
    assert devnodes.swaps(present, devnodes.wanted_nodes(facts(*wanted))) == result


@pytest.fixture
def container(tmp_path: os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """A process whose root is a directory; its PID and the directory."""
    top = os.path.join(tmp_path, "root")
    os.makedirs(f"{top}/dev")
    code = f"import os,sys; os.chroot({top!r}); print('in', flush=True); sys.stdin.read()"
    process = subprocess.Popen(["python3", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"in\n"
    yield process.pid, top
    process.communicate(timeout=60)


@root
def test_a_restored_dev_gets_the_new_gpu(container: tuple[int, str]) -> None:
    pid, top = container
    os.mknod(f"{top}/dev/nvidia0", stat.S_IFCHR | 0o666, os.makedev(195, 0))
    os.mknod(f"{top}/dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert devnodes.align(pid, facts(ONE)) == ["nvidia0", "nvidia1"]
    assert sorted(os.listdir(f"{top}/dev")) == ["null", "nvidia1"]
    made = os.stat(f"{top}/dev/nvidia1")
    assert made.st_rdev == os.makedev(195, 1)
    assert stat.S_IMODE(made.st_mode) == 0o666
    assert devnodes.align(pid, facts(ONE)) == []


@root
def test_a_symlink_to_the_hosts_dev_is_refused(
    container: tuple[int, str], tmp_path: os.PathLike[str]
) -> None:
    pid, top = container
    outside = os.path.join(tmp_path, "outside")
    os.mkdir(outside)
    os.rmdir(f"{top}/dev")
    os.symlink(outside, f"{top}/dev")
    with pytest.raises(CudaError, match="could not bring /dev of restored process"):
        devnodes.align(pid, facts(ONE))
    assert os.listdir(outside) == []


@root
def test_a_symlink_in_place_of_a_node_is_replaced_and_its_target_stays(container: tuple[int, str]) -> None:
    pid, top = container
    open(f"{top}/precious", "w").close()
    os.symlink("/precious", f"{top}/dev/nvidia0")
    assert devnodes.align(pid, facts(ZERO)) == ["nvidia0"]
    assert stat.S_ISCHR(os.lstat(f"{top}/dev/nvidia0").st_mode)
    assert os.path.exists(f"{top}/precious")


@pytest.mark.parametrize(
    "mount",
    [
        {"destination": "/dev", "type": "bind", "source": "/dev"},
        {"destination": "/dev/", "type": "none", "source": "/dev", "options": ["rbind", "rw"]},
    ],
)
@root
def test_a_dev_that_is_the_nodes_own_is_left_alone(
    mount: dict[str, object], container: tuple[int, str]
) -> None:
    """Or the node would lose the GPUs that the container does not have."""
    pid, top = container
    for minor in (0, 1):
        os.mknod(f"{top}/dev/nvidia{minor}", stat.S_IFCHR | 0o666, os.makedev(195, minor))
    kernels = {"destination": "/dev/pts", "type": "devpts", "source": "devpts"}
    assert devnodes.align(pid, facts(ONE, mounts=(kernels, mount))) == []
    assert sorted(os.listdir(f"{top}/dev")) == ["nvidia0", "nvidia1"]


@root
def test_a_node_that_is_mounted_is_left_alone(container: tuple[int, str]) -> None:
    """It is the new spec's, and could not be removed either."""
    pid, top = container
    for minor in (0, 1):
        os.mknod(f"{top}/dev/nvidia{minor}", stat.S_IFCHR | 0o666, os.makedev(195, minor))
    mount = {"destination": "/dev/nvidia1", "type": "bind", "source": "/dev/nvidia7", "options": ["bind"]}
    assert devnodes.align(pid, facts(mounts=(mount,))) == ["nvidia0"]
    assert os.listdir(f"{top}/dev") == ["nvidia1"]


@root
def test_a_dev_of_the_containers_own_is_no_mount_from_elsewhere(container: tuple[int, str]) -> None:
    pid, _ = container
    mount = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]}
    assert devnodes.align(pid, facts(ONE, mounts=(mount,))) == ["nvidia1"]


def test_a_process_that_is_gone_is_reported() -> None:
    with pytest.raises(CudaError, match="restored process 999999"):
        devnodes.align(999999, facts(ONE))
