"""The GPU side of a restore, as its steps call it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable

import pytest
from integration.waiting import wait_until
from tests.checkpoint_made import spec
from tests.cuda_target import Script, Target, as_criu_leaves

from glowplug.checkpoint import bundle
from glowplug.cuda import devnodes, process_group
from glowplug.restore.gpu import Gpu

pytest_plugins = ["tests.cuda_target"]


OLD, NEW, STAYS = (f"GPU-{digit * 8}-0000-0000-0000-000000000001" for digit in "abc")


def environment(pid: int | None) -> list[str]:
    with open(f"/proc/{pid}/environ") as file:
        return file.read().split("\0")[:-1]


def test_one_that_another_ended_before_its_turn_is_no_fault() -> None:
    """A parent that runs already takes in its dead child, say; to throw the tree away now would be too late."""
    ended = subprocess.Popen(["true"])
    ended.wait(timeout=60)
    waiting = subprocess.Popen(["sleep", "60"])
    gpu = Gpu([], [], "")
    try:
        gpu._tree = [ended.pid, waiting.pid]
        waiting.send_signal(signal.SIGSTOP)
        gpu.let_run()
        with open(f"/proc/{waiting.pid}/stat") as stat:
            assert stat.read().split()[2] != "T"
    finally:
        gpu.close()
        waiting.kill()
        waiting.wait(timeout=60)


def test_the_driver_is_kept_initialised_on_the_gpus_of_this_pod(
    driver: str, script: Script, target: Callable[..., Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the CUDA state is back; of a map, the new GPU."""
    monkeypatch.setenv("LD_LIBRARY_PATH", driver)
    monkeypatch.setattr(devnodes, "align", lambda init, facts: [])
    process = as_criu_leaves(target(), driver)
    script.say(
        *(f'gpu {number} {uuid} {number} "H100" 1 1 9.0 -' for number, uuid in enumerate((OLD, STAYS)))
    )
    gpu = Gpu([process.pid], [OLD, STAYS], f"{OLD}={NEW},{STAYS}={STAYS}")
    try:
        keeper = gpu._initialised.pid
        # Empty for the moment in which it becomes the new program.
        wait_until(lambda: environment(keeper), 60, "the keeper's environment")
        assert f"CUDA_VISIBLE_DEVICES={NEW},{STAYS}" in environment(keeper)
        gpu.bring_back(process.pid, bundle.read(spec()), 60)
        gpu.let_run()
    finally:
        gpu.close()
    assert process.alive()
    assert not os.path.exists(f"/proc/{keeper}")


@pytest.mark.parametrize(
    ("line", "what_to_do"),
    [
        ("fail restore any 801", "what does not (driver: restore: cuCheckpointProcessRestore of process"),
        ("fail restore any 803", "restart the node"),
        ("fail unlock any 401", "no other program"),
        ("hang restore any", "restore process"),
    ],
)
def test_what_the_driver_refuses_comes_with_what_to_do(
    line: str,
    what_to_do: str,
    driver: str,
    script: Script,
    target: Callable[..., Target],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is the detail of the start's outcome: history, annotation and Event show it."""
    monkeypatch.setenv("LD_LIBRARY_PATH", driver)
    monkeypatch.setattr(devnodes, "align", lambda init, facts: [])
    process = as_criu_leaves(target(), driver)
    script.say(line)
    gpu = Gpu([process.pid], [], "")
    try:
        with pytest.raises(process_group.CudaLost) as raised:
            gpu.bring_back(process.pid, bundle.read(spec()), 1 if line.startswith("hang") else 20)
    finally:
        gpu.close()
    assert what_to_do in str(raised.value)
