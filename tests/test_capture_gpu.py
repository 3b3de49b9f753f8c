"""The GPU side of a capture: refused before anything is touched, and CUDA is put back on every way out."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.checkpoint_made import spec
from tests.cuda_target import Script, Target

from glowplug.capture import gpu
from glowplug.capture.runc import Runc
from glowplug.capture.subject import Subject
from glowplug.checkpoint import bundle
from glowplug.cuda import process_group, undumpable
from glowplug.errors import CudaError, GlowplugError, HostError, UsageError
from glowplug.host import proc, process

pytest_plugins = ["tests.cuda_target"]

Start = Callable[..., Target]

UUID = "GPU-aaaaaaaa-0000-0000-0000-000000000001"
NODE = ("driver 580.159.04", f'gpu 0 {UUID} 0 "H100" 85899345920 1048576 9.0 -')


@pytest.fixture(autouse=True)
def fakes(driver: str, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """NVML here and libcuda in the workers are the fake's."""
    ctypes.CDLL(f"{driver}/libnvidia-ml.so.1")
    monkeypatch.setenv("LD_LIBRARY_PATH", driver)
    script.say(*NODE)


def subject(*pids: int) -> Subject:
    """A container of these processes with the GPU."""
    with_gpu = spec()
    with_gpu["linux"]["devices"] = [{"path": "/dev/nvidia0", "type": "c", "major": 195, "minor": 0}]
    return cast(Subject, SimpleNamespace(facts=bundle.read(with_gpu), pids=list(pids), init=os.getpid()))


class NoRunc:
    """Stands for runc: called to kill."""

    def __init__(self) -> None:
        self.killed: list[str] = []

    def kill(self, container: str) -> None:
        self.killed.append(container)


def states(driver: str, *pids: int) -> set[str]:
    with process_group.ProcessGroup("driver", f"{driver}/libcuda.so.1") as group:
        group.attach(list(pids))
        return set(group.states(5).values())


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((NODE[0], NODE[1].removesuffix("-") + "mig"), f"GPU {UUID} has MIG enabled"),
        ((*NODE, "mps 0 PID 1"), f"process PID uses GPU {UUID} through MPS"),
        ((*NODE, f"usage 0 PID {1 << 50}"), "a CUDA checkpoint puts 1073741824 MiB of device memory"),
        ((*NODE, "state PID 2"), "expected every CUDA process running before a capture"),
        ((NODE[0],), "NVML knows no GPU with the device node"),
    ],
    ids=["mig", "mps", "headroom", "state", "device"],
)
def test_it_is_refused_before_anything_is_touched(
    lines: tuple[str, ...], said: str, script: Script, target: Start
) -> None:
    pid = str(target().pid)
    script.say(*(line.replace("PID", pid) for line in lines))
    with pytest.raises(GlowplugError, match=said.replace("PID", pid)):
        gpu.Gpu(subject(int(pid)))
    assert script.calls("lock") == []


def test_a_node_open_beside_cuda_is_refused_before_anything_is_touched(
    script: Script, target: Start, plain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a fork of a process with CUDA has it, or a monitor."""
    holder = target().pid
    monkeypatch.setattr(undumpable, "_descriptors", lambda pid: ["/dev/nvidia0"])
    with pytest.raises(UsageError, match=rf"process {plain} \(sleep\) holds /dev/nvidia0"):
        gpu.Gpu(subject(holder, plain))
    assert script.calls("lock") == []


def test_cuda_is_away_and_comes_back(driver: str, target: Start, plain: int) -> None:
    pids = [target().pid, target().pid]
    with gpu.Gpu(subject(*pids, plain)) as found:
        assert found.pids == sorted(pids)
        with found.away(cast(Runc, NoRunc()), "c1"):
            assert states(driver, *pids) == {"checkpointed"}
            assert found._initialised is not None
            keeper = found._initialised.pid
            assert keeper is not None
            assert not process.is_zombie(keeper)
        assert states(driver, *pids) == {"running"}
    assert not os.path.exists(f"/proc/{keeper}")
    assert list(found.seconds) == ["cuda_checkpoint", "cuda_restore"]


def test_a_dump_that_fails_has_cuda_back(driver: str, target: Start) -> None:
    pid, runc = target().pid, NoRunc()
    with pytest.raises(ZeroDivisionError), gpu.Gpu(subject(pid)) as found, found.away(cast(Runc, runc), "c1"):
        raise ZeroDivisionError
    assert states(driver, pid) == {"running"}
    assert runc.killed == []


def test_what_the_checkpoint_left_open_is_refused_with_cuda_back(
    driver: str, target: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid, runc = target().pid, NoRunc()
    with gpu.Gpu(subject(pid)) as found:
        monkeypatch.setattr(undumpable, "_descriptors", lambda pid: ["/dev/nvidiactl"])
        with pytest.raises(UsageError, match="still open after"), found.away(cast(Runc, runc), "c1"):
            raise AssertionError("not to be reached")
    assert states(driver, pid) == {"running"}


@pytest.mark.parametrize(
    ("line", "raised", "killed"),
    [
        ("fail lock any 600", CudaError, []),
        ("fail checkpoint any 801", CudaError, []),
        ("fail restore any 801", process_group.CudaLost, ["c1"]),
        ("crash unlock any", process_group.CudaLost, ["c1"]),
    ],
)
def test_a_container_is_killed_only_where_its_cuda_is_lost(
    line: str, raised: type[Exception], killed: list[str], script: Script, target: Start
) -> None:
    runc: Any = NoRunc()
    with gpu.Gpu(subject(target().pid)) as found:
        script.say(*NODE, line)
        with pytest.raises(raised), found.away(runc, "c1"):
            pass
    assert runc.killed == killed


@pytest.mark.parametrize(
    ("line", "what_to_do"),
    [
        ("fail lock any 600", "capture it while it is idle (driver: lock: cuCheckpointProcessLock"),
        ("fail checkpoint any 2", "raise the container's memory limit (driver: "),
        ("fail restore any 801", "what does not (driver: restore: "),
    ],
)
def test_what_the_driver_refuses_comes_with_what_to_do(
    line: str, what_to_do: str, script: Script, target: Start
) -> None:
    with gpu.Gpu(subject(target().pid)) as found:
        script.say(*NODE, line)
        with pytest.raises(CudaError) as raised, found.away(cast(Runc, NoRunc()), "c1"):
            pass
    assert what_to_do in str(raised.value)


def test_a_state_that_the_driver_can_not_report_comes_with_what_to_do(script: Script, target: Start) -> None:
    script.say(*NODE, "fail state any 999")
    with pytest.raises(CudaError, match="look for Xid in the node's kernel log"):
        gpu.Gpu(subject(target().pid))


def hierarchy(root: Path, *limited: str, v2: bool = True) -> str:
    """A cgroup mount: where limits are set, and /pod/c1 in any case."""
    (root / "pod/c1").mkdir(parents=True)
    if v2:
        (root / "cgroup.controllers").write_text("cpu memory\n")
    for name in limited:
        (root / name / ("memory.max" if v2 else "memory.limit_in_bytes")).write_text("1\n")
    return str(root)


@pytest.mark.parametrize(
    ("limited", "v2", "row", "found"),
    [
        (("pod", "pod/c1"), True, "0::/pod/c1", "pod/c1"),
        (("pod",), True, "0::/pod/c1", "pod"),
        ((".", "pod", "pod/c1"), False, "4:cpu,memory:/pod/c1", "pod/c1"),
    ],
    ids=["v2", "turned-off-below", "v1"],
)
def test_the_first_memory_limit_above_a_process_is_found(
    limited: tuple[str, ...], v2: bool, row: str, found: str, tmp_path: Path
) -> None:
    mount = hierarchy(tmp_path, *limited, v2=v2)
    assert gpu._has_memory(mount)
    assert gpu._limited([proc.cgroup(row)], [mount]) == f"{mount}/{found}"


@pytest.mark.parametrize(
    ("row", "v2"),
    [("0::/../../pod/c1", True), ("0::/pod/c2", True), ("4:memory:/pod/c1", True), ("0::/pod/c1", False)],
)
def test_a_memory_limit_that_can_not_be_known_is_an_error(row: str, v2: bool, tmp_path: Path) -> None:
    """As where this process has a cgroup namespace of its own."""
    mount = hierarchy(tmp_path, "pod", "pod/c1", v2=v2)
    with pytest.raises(HostError, match="no memory cgroup of the container"):
        gpu._limited([proc.cgroup(row)], [mount])


def test_a_node_without_the_memory_controller_sets_no_limit() -> None:
    assert gpu._limited([proc.cgroup("0::/pod/c1")], []) == ""
