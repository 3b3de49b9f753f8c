"""A capture that would not fit into host memory is refused with the numbers, before anything is touched."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest
from tests.cuda_target import Script

from glowplug.cuda import memory_headroom
from glowplug.errors import HostError, UsageError

pytest_plugins = ["tests.cuda_target"]

MIB = 1 << 20
GPU = 'gpu 0 GPU-aaaaaaaa-0000-0000-0000-000000000001 0 "H100" 100000 5000 9.0 -'


@pytest.fixture(autouse=True)
def nvml(driver: str, script: Script) -> None:
    ctypes.CDLL(f"{driver}/libnvidia-ml.so.1")


def test_only_the_containers_own_processes_count(script: Script) -> None:
    script.say(GPU, "usage 0 10 700", "usage 0 11 60", "usage 0 99 4000")
    assert memory_headroom.device_memory([10, 11, 12], [0]) == 760


def test_a_missing_figure_counts_as_all_that_is_in_use(script: Script) -> None:
    script.say(GPU, "usage 0 10 700", "usage 0 11 n/a")
    assert memory_headroom.device_memory([10, 11], [0]) == 5000


def test_processes_that_nvml_does_not_list_count_as_all_that_is_in_use(script: Script) -> None:
    script.say(GPU, "usage 0 99 4000")
    assert memory_headroom.device_memory([10], [0]) == 5000


def test_nvml_failing_is_an_error(script: Script) -> None:
    script.say(GPU, "nvml-fail nvmlDeviceGetComputeRunningProcesses_v3 999")
    with pytest.raises(HostError):
        memory_headroom.device_memory([10], [0])


def cgroup(folder: Path, version: int, limit: int | None, usage: int, cache: int) -> None:
    folder.mkdir(exist_ok=True)
    if version == 2:
        (folder / "memory.max").write_text("max\n" if limit is None else f"{limit}\n")
        (folder / "memory.current").write_text(f"{usage}\n")
        (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cache}\n")
    else:
        (folder / "memory.limit_in_bytes").write_text(f"{9223372036854771712 if limit is None else limit}\n")
        (folder / "memory.usage_in_bytes").write_text(f"{usage}\n")
        (folder / "memory.stat").write_text(f"inactive_file 1\ntotal_inactive_file {cache}\n")


@pytest.mark.parametrize("version", [1, 2])
def test_every_limit_above_counts_and_unused_cache_is_headroom(version: int, tmp_path: Path) -> None:
    pod = tmp_path / "pod"
    cgroup(tmp_path, version, None, 1, 0)
    cgroup(pod, version, 1000 * MIB, 900 * MIB, 50 * MIB)
    cgroup(pod / "container", version, 2000 * MIB, 400 * MIB, 0)
    node, container, above = memory_headroom.limits(str(pod / "container"))
    assert node.name == "the node's available memory"
    assert (container.left, above.left) == (1600 * MIB, 150 * MIB)
    assert above.name == f"the memory limit of {pod}"


def test_a_limit_that_is_overrun_has_nothing_left(tmp_path: Path) -> None:
    cgroup(tmp_path, 2, 10, 20, 0)
    assert memory_headroom.limits(str(tmp_path))[1].left == 0


def test_what_fits_is_not_refused() -> None:
    memory_headroom.require(100 * MIB, [memory_headroom.Limit("here", 100 * MIB + memory_headroom.MARGIN)])


def test_what_does_not_fit_is_refused_with_the_numbers() -> None:
    with pytest.raises(UsageError) as raised:
        memory_headroom.require(
            101 * MIB,
            [
                memory_headroom.Limit("there", 1 << 40),
                memory_headroom.Limit("here", 100 * MIB + memory_headroom.MARGIN),
            ],
        )
    said = str(raised.value)
    assert "101 MiB of device memory" in said
    assert f"only {100 + memory_headroom.MARGIN // MIB} MiB are left in here" in said


def test_the_real_node_has_memory_available() -> None:
    assert (
        0
        < memory_headroom.limits("/nonexistent")[0].left
        < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    )
