"""GPU facts are NVML's, which GPUs a container has is its spec's, and a fact that is missing is an error."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading

import pytest
from tests.cuda_target import Script

from glowplug.checkpoint import bundle
from glowplug.checkpoint.requirements import Gpu
from glowplug.cuda import assigned_devices, facts
from glowplug.errors import HostError
from glowplug.explain import gpus

pytest_plugins = ["tests.cuda_target"]

A = "GPU-aaaaaaaa-0000-0000-0000-000000000001"
B = "GPU-bbbbbbbb-0000-0000-0000-000000000002"
H100 = "NVIDIA H100 80GB HBM3"
NODE = (
    "driver 580.159.04",
    "cuda 13000",
    f'gpu 0 {A} 3 "{H100}" 85899345920 1024 9.0 -',
    f'gpu 1 {B} 1 "{H100}" 85899345920 2048 9.0 mig',
)


@pytest.fixture(autouse=True)
def nvml(driver: str, script: Script) -> None:
    """libnvidia-ml.so.1 is the fake's: the loader takes what is loaded under that name already."""
    ctypes.CDLL(f"{driver}/libnvidia-ml.so.1")
    script.say(*NODE)


def test_all_of_a_node_is_read() -> None:
    gpu = Gpu(A, H100, 85899345920, "9.0", False)
    other = Gpu(B, H100, 85899345920, "9.0", True)
    devices = (facts.Device(0, 3, gpu), facts.Device(1, 1, other))
    assert facts.read() == facts.Node("580.159.04", 13000, devices)


def test_a_gpu_that_knows_no_mig_has_none(script: Script) -> None:
    script.say("driver 1", f'gpu 0 {A} 0 "T4" 1 0 7.5 n/a')
    assert facts.read().devices[0].gpu.mig is False


@pytest.mark.parametrize(
    "function",
    ["nvmlInitWithFlags", "nvmlDeviceGetCount_v2", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMigMode"],
)
def test_what_nvml_can_not_say_is_an_error(function: str, script: Script) -> None:
    script.say(*NODE, f"nvml-fail {function} 9")
    with pytest.raises(HostError, match="Driver Not Loaded"):
        facts.read()


def test_a_recent_reading_serves_for_a_second_and_an_error_for_none(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "RECENT_S", 600.0)
    monkeypatch.setattr(facts, "_read", (float("-inf"), facts.NO_DRIVER))
    script.say(*NODE, "nvml-fail nvmlDeviceGetCount_v2 9")
    with pytest.raises(HostError):
        facts.recent()
    script.say(*NODE)
    assert facts.recent().driver == "580.159.04"
    script.say("driver 1", *NODE[1:])
    assert facts.recent().driver == "580.159.04"
    monkeypatch.setattr(facts, "RECENT_S", -1.0)
    assert facts.recent().driver == "1"


def test_a_reading_that_is_under_way_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    readings: list[facts.Node] = []

    def read() -> facts.Node:
        begun.set()
        assert go_on.wait(60)
        readings.append(facts.Node(str(len(readings)), 13000, ()))
        return readings[-1]

    monkeypatch.setattr(facts, "RECENT_S", 600.0)
    monkeypatch.setattr(facts, "_read", (float("-inf"), facts.NO_DRIVER))
    monkeypatch.setattr(facts, "read", read)
    gpus.read_ahead(spec(("/dev/nvidia0", 195, 0)))
    assert begun.wait(60)
    go_on.set()
    assert facts.recent().driver == "0"
    assert len(readings) == 1


def test_without_a_gpu_nvml_is_not_queried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "_read", lambda: pytest.fail("NVML was queried"))
    gpus.read_ahead(spec())


def test_no_library_is_no_driver() -> None:
    code = (
        "import ctypes.util, sys; from glowplug.cuda import facts\n"
        "sys.exit(77 if ctypes.util.find_library('nvidia-ml') else facts.read() != facts.NO_DRIVER)"
    )
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": "shim"}, timeout=60)
    if done.returncode == 77:
        pytest.skip("this machine has NVIDIA's library")
    assert done.returncode == 0


def test_memory_by_process_says_a_missing_figure_from_none(script: Script) -> None:
    script.say(*NODE, "usage 0 11 700", "usage 0 12 n/a", "usage 1 11 5", "mps 1 99 1")
    assert facts.memory_by_process(0) == {11: 700, 12: None}
    assert facts.memory_by_process(1) == {11: 5}
    assert facts.memory_used(1) == 2048
    assert (facts.mps_clients(0), facts.mps_clients(1)) == (set(), {99})


def spec(*nodes: tuple[str, int, int], **more: object) -> bundle.BundleFacts:
    devices = [{"path": path, "type": "c", "major": major, "minor": minor} for path, major, minor in nodes]
    return bundle.read({"ociVersion": "1.0.2", "linux": {"devices": devices}, **more})


def test_the_nodes_of_the_spec_say_which_gpus_a_container_has() -> None:
    devices = facts.read().devices
    assert (
        assigned_devices.devices_of(spec(("/dev/nvidia3", 195, 3), ("/dev/nvidiactl", 195, 255)), devices)
        == devices[:1]
    )
    both = spec(("/dev/nvidia1", 195, 1), ("/dev/nvidia3", 195, 3))
    assert assigned_devices.devices_of(both, devices) == devices


def test_a_renamed_node_is_known_by_its_number() -> None:
    devices = facts.read().devices
    assert assigned_devices.devices_of(spec(("/dev/nvidia0", 195, 3)), devices) == devices[:1]


def test_a_bind_mounted_node_counts() -> None:
    mounts = [{"destination": "/dev/nvidia1", "source": "/dev/nvidia1", "type": "bind", "options": ["rbind"]}]
    devices = facts.read().devices
    assert assigned_devices.devices_of(spec(mounts=mounts), devices) == devices[1:]


def test_a_container_without_nodes_or_wishes_has_no_gpu() -> None:
    assert assigned_devices.devices_of(spec(), facts.read().devices) == ()


def test_a_wish_without_nodes_is_unknown_and_the_wish_is_not_reported() -> None:
    process = {"args": ["a"], "cwd": "/", "env": [f"NVIDIA_VISIBLE_DEVICES={A}"]}
    with pytest.raises(HostError, match="through CDI") as raised:
        assigned_devices.devices_of(spec(process=process), facts.read().devices)
    assert A not in str(raised.value)


def test_a_node_that_nvml_does_not_know_is_unknown() -> None:
    with pytest.raises(HostError, match="no GPU with the device node /dev/nvidia7"):
        assigned_devices.devices_of(spec(("/dev/nvidia7", 195, 7)), facts.read().devices)


def test_a_node_that_is_no_nvidia_device_is_unknown() -> None:
    with pytest.raises(
        HostError, match="expected /dev/nvidia1 of the spec to be character device 195:N, got c 1:3"
    ):
        assigned_devices.devices_of(spec(("/dev/nvidia1", 1, 3)), facts.read().devices)
