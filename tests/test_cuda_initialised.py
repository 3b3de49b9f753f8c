"""While a container's CUDA state is away, a process of ours keeps the driver initialised; nobody waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from integration.waiting import wait_until
from tests.cuda_target import Script

from glowplug.cuda import process_group
from glowplug.cuda.initialised import Initialised
from glowplug.errors import CudaError
from glowplug.host import process

pytest_plugins = ["tests.cuda_target"]

WITHIN_S = 60.0
UUID = "GPU-aaaaaaaa-0000-0000-0000-000000000001"


@pytest.fixture
def kept(driver: str, script: Script) -> Iterator[Initialised]:
    found = Initialised([UUID, UUID], f"{driver}/libcuda.so.1")
    yield found
    found.close()


def is_initialised(driver: str, pid: int) -> bool:
    """The fake driver takes every process that called cuInit for one with CUDA state."""
    with process_group.ProcessGroup("driver", f"{driver}/libcuda.so.1") as group:
        try:
            group.attach([pid], expected=[pid])
        except CudaError:
            return False
        return True


def test_it_initialises_the_driver_on_these_gpus_alone(driver: str, kept: Initialised) -> None:
    assert kept.pid is not None
    pid = kept.pid
    wait_until(lambda: is_initialised(driver, pid), WITHIN_S, "the driver initialised")
    with open(f"/proc/{pid}/environ") as file:
        variables = file.read().split("\0")
    assert f"CUDA_VISIBLE_DEVICES={UUID},{UUID}" in variables
    assert "CUDA_MPS_PIPE_DIRECTORY=/dev/null" in variables


def test_it_is_killed_without_a_wait_and_reaped_at_the_end(kept: Initialised) -> None:
    assert kept.pid is not None
    pid = kept.pid
    kept.let_go()
    wait_until(lambda: process.is_zombie(pid), WITHIN_S, "its death")
    kept.close()
    kept.close()
    assert not os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("gpus", [[], [UUID]], ids=["no GPU", "no interpreter"])
def test_where_there_is_none_nothing_is_lost(gpus: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    none = Initialised(gpus)
    none.let_go()
    none.close()
    assert none.pid is None


def test_it_ends_with_the_process_that_started_it(driver: str) -> None:
    """Which may be killed at any time."""
    program = (
        "import sys, time; from glowplug.cuda.initialised import Initialised\n"
        "print(Initialised([sys.argv[1]], sys.argv[2]).pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, UUID, f"{driver}/libcuda.so.1"], stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        starter.kill()
        starter.wait(timeout=60)
    wait_until(
        lambda: not os.path.exists(f"/proc/{pid}") or process.is_zombie(pid), WITHIN_S, "the end of its input"
    )
