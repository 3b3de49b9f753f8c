"""The limits of a pod's own cgroup: on both versions, by both drivers, and where there is none."""

from pathlib import Path

import pytest

from glowplug.host import cgroup, pod_limits


@pytest.fixture
def mounts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Hierarchies as on version 1; on version 2 there is one, and here its files are in `memory`."""
    found = [str(tmp_path / name) for name in ("cpu", "memory")]
    monkeypatch.setattr(cgroup, "mountpoints", lambda: found)
    pod_limits._mountpoints.cache_clear()
    return tmp_path


@pytest.fixture(autouse=True)
def _read_anew() -> None:
    pod_limits._mountpoints.cache_clear()


def write(directory: Path, **files: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text + "\n")


POD = "kubepods/burstable/pod1"


def test_on_version_2(mounts: Path) -> None:
    write(mounts / "memory" / POD, memory__max="4294967296", cpu__max="150000 100000")
    assert pod_limits.read(f"/{POD}/c1") == (4 << 30, 1500)
    write(mounts / "memory" / POD, memory__max="max", cpu__max="max 100000")
    assert pod_limits.read(f"/{POD}/c1") == (pod_limits.NONE, pod_limits.NONE)


def test_on_version_1(mounts: Path) -> None:
    write(mounts / "memory" / POD, memory__limit_in_bytes="4294967296")
    write(mounts / "cpu" / POD, cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    assert pod_limits.read(f"/{POD}/c1") == (4 << 30, 500)
    write(mounts / "memory" / POD, memory__limit_in_bytes="9223372036854771712")
    write(mounts / "cpu" / POD, cpu__cfs_quota_us="-1")
    assert pod_limits.read(f"/{POD}/c1") == (pod_limits.NONE, pod_limits.NONE)


def test_with_systemd_s_driver(mounts: Path) -> None:
    pod = mounts / "memory" / "kubepods.slice" / "kubepods-pod1.slice"
    write(pod, memory__max="1048576", cpu__max="max 100000")
    assert pod_limits.read("kubepods-pod1.slice:cri-containerd:c1") == (1 << 20, pod_limits.NONE)


@pytest.mark.parametrize("path", ["", "/", "/c1", "relative", f"/{POD}/c1", "/../x/c1"])
def test_where_there_is_no_cgroup_there_is_no_limit(mounts: Path, path: str) -> None:
    assert pod_limits.read(path) == (pod_limits.NONE, pod_limits.NONE)
