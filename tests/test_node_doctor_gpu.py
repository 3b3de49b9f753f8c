"""The doctor on a node with a GPU: every verdict comes from what the driver does, here the fake one."""

import ctypes

import pytest
from tests.cuda_target import Script

from glowplug.config import Config
from glowplug.node.doctor import checks, gpu
from glowplug.node.doctor.finding import Finding
from glowplug.node.doctor.probes import Probes

pytest_plugins = ["tests.cuda_target"]

H100 = 'gpu 0 GPU-aaaaaaaa-0000-0000-0000-000000000001 0 "NVIDIA H100 80GB HBM3" 85899345920 0 9.0 -'


@pytest.fixture(autouse=True)
def node(driver: str, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node whose one GPU the fake driver stands for: its libraries are found under the real ones' names."""
    ctypes.CDLL(f"{driver}/libnvidia-ml.so.1")
    monkeypatch.setenv("LD_LIBRARY_PATH", driver)
    monkeypatch.setattr(gpu, "present", lambda: True)
    script.say("driver 580.159.04", H100)


def found(name: str) -> Finding:
    check = next(check for check in checks.CHECKS if check.name == name)
    return checks.look(check, Probes(Config(containerd_socket="/nonexistent/containerd.sock")))


def test_a_gpu_that_works_is_well() -> None:
    assert (found("NVML").level, found("NVML").found) == ("ok", "1: NVIDIA H100 80GB HBM3")
    assert found("CUDA checkpoints").level == "ok"
    assert found("CUDA checkpoints").found.startswith("there and back in ")


@pytest.mark.parametrize("call", ["lock", "checkpoint", "restore", "unlock"])
def test_a_call_that_fails_is_wrong(call: str, script: Script) -> None:
    script.say("driver 580.159.04", H100, f"fail {call} any 801")
    assert found("CUDA checkpoints").level == "wrong"
    assert "801" in found("CUDA checkpoints").found


def test_a_known_result_of_the_driver_comes_with_what_to_do(script: Script) -> None:
    script.say("driver 580.159.04", H100, "fail restore any 803")
    assert found("CUDA checkpoints").fix.startswith("restart the node")
    script.say("driver 580.159.04", H100, "fail restore any 4711")
    assert found("CUDA checkpoints").fix == "install NVIDIA driver 580 or newer"


def test_a_full_gpu_is_no_verdict_on_checkpoints(script: Script) -> None:
    script.say("driver 580.159.04", H100, "context 0 2")
    assert found("CUDA checkpoints").level == "warning"
    assert found("CUDA checkpoints").found.startswith("unknown: no GPU gave a context")


def test_nvml_that_can_not_answer_is_wrong(script: Script) -> None:
    script.say("driver 580.159.04", H100, "nvml-fail nvmlDeviceGetCount_v2 9")
    assert found("NVML").level == "wrong"
    assert found("NVML").found.startswith("unknown: NVML: nvmlDeviceGetCount")


def test_without_a_gpu_the_driver_is_not_called(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "present", lambda: False)
    for name in ("NVIDIA driver", "NVML", "CUDA checkpoints", "GPUs in containers"):
        assert found(name) == Finding("ok", "no GPU here")
    assert script.calls() == []
