"""A trial says that checkpoints work only after a process went off its GPU and came back."""

from __future__ import annotations

import os

import pytest
from tests.cuda_target import Script

from glowplug.cuda import trial
from glowplug.errors import CudaError
from glowplug.host import process

pytest_plugins = ["tests.cuda_target"]

GPU = 'gpu {index} GPU-0000000{index} {index} "H100" 85899345920 0 9.0 -'


@pytest.fixture
def library(driver: str, script: Script) -> str:
    script.say(GPU.format(index=0))
    return f"{driver}/libcuda.so.1"


def test_a_process_goes_off_its_gpu_and_comes_back(library: str, script: Script) -> None:
    found = trial.run("driver", library)
    assert found.engine == "driver"
    done = [call.split()[0] for call in script.calls()]
    assert [name for name in done if name in ("lock", "checkpoint", "restore", "unlock")] == [
        "lock",
        "checkpoint",
        "restore",
        "unlock",
    ]


@pytest.mark.parametrize("call", ["restore-thread", "lock", "checkpoint", "restore", "unlock"])
def test_the_call_that_fails_is_reported(call: str, library: str, script: Script) -> None:
    script.say(GPU.format(index=0), f"fail {call} any 801")
    with pytest.raises(CudaError, match="801") as raised:
        trial.run("driver", library)
    assert call.partition("-")[0] in str(raised.value).lower()


def test_a_driver_without_the_functions_is_reported(library: str, script: Script) -> None:
    script.say(GPU.format(index=0), "without cuCheckpointProcessLock")
    with pytest.raises(CudaError, match="the driver has no cuCheckpointProcessLock"):
        trial.run("driver", library)


def test_a_full_gpu_is_passed_over(library: str, script: Script) -> None:
    script.say(GPU.format(index=0), GPU.format(index=1), "context 0 2")
    assert trial.run("driver", library).engine == "driver"


def test_where_no_gpu_gives_a_context_nothing_is_said_of_checkpoints(library: str, script: Script) -> None:
    script.say(GPU.format(index=0), "context 0 2")
    with pytest.raises(trial.NoContext, match="CUresult 2 of each of 1 GPUs"):
        trial.run("driver", library)
    assert script.calls("lock") == []


def test_a_library_that_is_not_there_is_no_context() -> None:
    with pytest.raises(trial.NoContext, match="the process died"):
        trial.run("driver", "/nonexistent/libcuda.so.1")


@pytest.mark.parametrize("ends", ["", "fail lock any 801"])
def test_no_process_is_left(ends: str, library: str, script: Script) -> None:
    script.say(GPU.format(index=0), *filter(None, [ends]))
    before = process.children(os.getpid())
    try:
        trial.run("driver", library)
    except CudaError:
        assert ends
    assert process.children(os.getpid()) == before
