"""Which engine makes the driver calls, and what is said when there is none."""

from __future__ import annotations

import pytest
from tests.cuda_target import Script

from glowplug.cuda import engine
from glowplug.errors import CudaError

pytest_plugins = ["tests.cuda_target"]


def test_libcuda_comes_first(driver: str, script: Script) -> None:
    picked = engine.pick("auto", f"{driver}/libcuda.so.1", f"{driver}/cuda-checkpoint")
    assert (picked.name, picked.version) == ("driver", 13000)


@pytest.mark.parametrize("lacking", ["cuda 12040", "without cuCheckpointProcessLock"])
def test_the_program_where_libcuda_lacks_the_functions(lacking: str, driver: str, script: Script) -> None:
    script.say(lacking)
    assert engine.pick("auto", f"{driver}/libcuda.so.1", f"{driver}/cuda-checkpoint").name == "program"


def test_neither_engine_says_what_each_lacks(driver: str, script: Script) -> None:
    script.say("cuda 12040")
    with pytest.raises(CudaError) as raised:
        engine.pick("auto", f"{driver}/libcuda.so.1", "no-such-program")
    assert "driver 570 (CUDA 12080) or newer, got CUDA 12040: update the driver" in str(raised.value)
    assert "the program no-such-program is not in PATH" in str(raised.value)


def test_no_driver_on_the_host_is_reported() -> None:
    with pytest.raises(CudaError, match=r"the NVIDIA driver's libnone.so.1 is not on this host"):
        engine.pick("driver", "libnone.so.1", "")


def test_a_missing_function_is_reported(driver: str, script: Script) -> None:
    script.say("without cuCheckpointProcessUnlock")
    with pytest.raises(CudaError, match=r"the driver has no cuCheckpointProcessUnlock .*not found"):
        engine.pick("driver", f"{driver}/libcuda.so.1", "")


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(CudaError, match="expected one of auto, driver, program"):
        engine.pick("cuda", "", "")
