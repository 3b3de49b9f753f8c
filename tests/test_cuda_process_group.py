"""The driver's calls on several processes at once: each answer of the driver leads where the container
needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from tests.cuda_target import Script, Target

from glowplug.cuda import process_group
from glowplug.errors import CudaError

pytest_plugins = ["tests.cuda_target"]

Start = Callable[..., Target]


@pytest.fixture(params=["driver", "program"])
def group(request: pytest.FixtureRequest, driver: str) -> process_group.ProcessGroup:
    return process_group.ProcessGroup(request.param, f"{driver}/libcuda.so.1", f"{driver}/cuda-checkpoint")


def library(driver: str) -> process_group.ProcessGroup:
    return process_group.ProcessGroup("driver", f"{driver}/libcuda.so.1")


def checkpointed(group: process_group.ProcessGroup, pid: int) -> None:
    """Attaches a process and takes its CUDA off the device."""
    group.attach([pid])
    group.lock(5)
    group.checkpoint(5)


def test_a_cycle_goes_through_every_state_of_every_process(
    group: process_group.ProcessGroup, target: Start
) -> None:
    pids = [target().pid, target().pid]
    with group:
        assert group.attach(pids) == {}
        seen = [group.states(5)]
        group.lock(5)
        seen.append(group.states(5))
        group.checkpoint(5)
        seen.append(group.states(5))
        group.restore(5)
        group.unlock(5)
        seen.append(group.states(5))
    expected = ("running", "locked", "checkpointed", "running")
    assert seen == [dict.fromkeys(pids, state) for state in expected]


def test_the_calls_are_made_at_once(driver: str, script: Script, target: Start) -> None:
    first, second = target().pid, target().pid
    with library(driver) as group:
        group.attach([first, second])
        group.lock(5)
        # The first process's call ends only when the second's has been made too.
        script.say(f"hang checkpoint {first}")
        tended = []

        def second_was_queried() -> None:
            if f"checkpoint {second}" in script.calls():
                script.say()
            tended.append(1)

        group.checkpoint(20, meanwhile=second_was_queried)
    assert tended


def test_a_process_without_cuda_is_no_member(group: process_group.ProcessGroup, target: Start) -> None:
    holder = target().pid
    with group:
        others = group.attach([holder, os.getpid()])
        assert group.pids == [holder]
    assert list(others) == [os.getpid()]
    assert "initialization error" in others[os.getpid()]


def test_a_process_that_must_have_cuda_and_has_none_is_an_error(
    group: process_group.ProcessGroup, target: Start
) -> None:
    with (
        group,
        pytest.raises(
            CudaError, match=f"processes that used CUDA at the capture use none now.*{os.getpid()}"
        ),
    ):
        group.attach([target().pid, os.getpid()], expected=[os.getpid()])


def test_an_error_names_call_process_result_and_the_drivers_words(
    driver: str, script: Script, target: Start
) -> None:
    pid = target().pid
    script.say("fail lock any 600")
    with library(driver) as group:
        group.attach([pid])
        with pytest.raises(CudaError) as raised:
            group.lock(1)
    assert not isinstance(raised.value, process_group.CudaLost)
    assert f"cuCheckpointProcessLock of process {pid}: CUDA_ERROR_NOT_READY (600): device not ready" in str(
        raised.value
    )


def test_a_result_that_the_driver_has_no_words_for_is_known_by_number(
    driver: str, script: Script, target: Start
) -> None:
    pid = target().pid
    script.say("fail lock any 777")
    with library(driver) as group:
        group.attach([pid])
        with pytest.raises(CudaError, match=r"\(777\)"):
            group.lock(1)


def test_the_program_is_quoted(driver: str, script: Script, target: Start) -> None:
    pid = target().pid
    script.say("fail lock any 801")
    with process_group.ProcessGroup("program", program=f"{driver}/cuda-checkpoint") as group:
        group.attach([pid])
        with pytest.raises(
            CudaError, match=f'exit status 1.*Could not lock on process ID {pid}: "operation not supported"'
        ):
            group.lock(1)


def test_a_lock_gets_the_timeout_in_milliseconds(
    group: process_group.ProcessGroup, script: Script, target: Start
) -> None:
    pid = target().pid
    with group:
        group.attach([pid])
        group.lock(1.5)
    assert script.calls("lock") == [f"lock {pid} timeout=1500"]


def test_when_one_lock_fails_the_locked_are_unlocked(
    group: process_group.ProcessGroup, script: Script, target: Start
) -> None:
    good, bad = target().pid, target().pid
    script.say(f"fail lock {bad} 600")
    with group:
        group.attach([good, bad])
        with pytest.raises(CudaError):
            group.lock(1)
        assert group.states(5) == {good: "running", bad: "running"}
    assert len(script.calls(f"unlock {good}")) == 1


def test_when_one_checkpoint_fails_cleanly_every_process_runs_again(
    group: process_group.ProcessGroup, script: Script, target: Start
) -> None:
    good, bad = target().pid, target().pid
    with group:
        group.attach([good, bad])
        group.lock(5)
        script.say(f"fail checkpoint {bad} 801")
        with pytest.raises(CudaError) as raised:
            group.checkpoint(5)
        assert not isinstance(raised.value, process_group.CudaLost)
        assert group.states(5) == {good: "running", bad: "running"}


def test_a_process_that_failed_its_checkpoint_is_lost(
    group: process_group.ProcessGroup, script: Script, target: Start
) -> None:
    pid = target().pid
    with group:
        group.attach([pid])
        group.lock(5)
        script.say(f"fail checkpoint {pid} 999", f"state {pid} 3")
        with pytest.raises(process_group.CudaLost, match=f"process {pid} is failed: kill the container"):
            group.checkpoint(5)


@pytest.mark.parametrize("call", ["restore", "unlock"])
def test_a_failed_restore_or_unlock_is_a_lost_container(
    call: str, group: process_group.ProcessGroup, script: Script, target: Start
) -> None:
    pid = target().pid
    with group:
        checkpointed(group, pid)
        script.say(f"fail {call} {pid} 801")
        with pytest.raises(process_group.CudaLost, match="operation not supported"):
            group.restore(5)
            group.unlock(5)


@pytest.mark.parametrize("call", ["checkpoint", "restore", "unlock"])
def test_a_hanging_call_is_left_behind_at_the_deadline(
    call: str, group: process_group.ProcessGroup, script: Script, target: Start
) -> None:
    stuck, other = target().pid, target().pid
    with group:
        group.attach([stuck, other])
        script.say(f"hang {call} {stuck}")
        group.lock(5)
        with pytest.raises(
            process_group.CudaLost, match=f"{call} process {stuck}: the driver did not answer in time"
        ):
            group.checkpoint(0.5)
            group.restore(0.5)
            group.unlock(0.5)
        assert group.pids == [other]


def test_a_process_that_can_not_be_queried_in_time_is_no_loss(
    group: process_group.ProcessGroup, script: Script, target: Start
) -> None:
    pid = target().pid
    with group:
        group.attach([pid])
        script.say(f"hang state {pid}")
        with pytest.raises(CudaError) as raised:
            group.states(0.3)
    assert not isinstance(raised.value, process_group.CudaLost)


def test_a_driver_that_kills_its_caller_kills_only_the_worker(
    driver: str, script: Script, target: Start
) -> None:
    pid = target().pid
    with library(driver) as group:
        group.attach([pid])
        group.lock(5)
        script.say(f"crash checkpoint {pid}")
        with pytest.raises(process_group.CudaLost, match="worker died in the call"):
            group.checkpoint(5)


def test_no_worker_outlives_its_group(
    group: process_group.ProcessGroup, script: Script, target: Start
) -> None:
    pid = target().pid
    with group:
        group.start(3)
        group.attach([pid])
        workers = [worker.pid for worker in [*group._idle, *group._workers.values()]]
        script.say(f"hang state {pid}")
        with pytest.raises(CudaError):
            group.states(0.1)
    assert len(workers) == 3
    assert [worker for worker in workers if os.path.exists(f"/proc/{worker}")] == []


def test_a_worker_holds_none_of_our_descriptors(driver: str, target: Start) -> None:
    reading, taken = os.pipe()
    os.set_inheritable(taken, True)
    with library(driver) as group:
        group.attach([target().pid])
        os.close(taken)
        assert os.read(reading, 1) == b""  # blocks while anyone else holds the other end
    os.close(reading)


def test_cuinit_is_called_where_the_driver_asks_for_it(driver: str, script: Script, target: Start) -> None:
    pid = target().pid
    script.say("needs-init")
    with library(driver) as group:
        group.attach([pid])
        assert group.states(5) == {pid: "running"}


def test_a_failing_cuinit_is_reported(driver: str, script: Script, target: Start) -> None:
    pid = target().pid
    script.say("needs-init", "init 100")
    with library(driver) as group:
        others = group.attach([pid])
    assert others[pid] == "cuInit: CUDA_ERROR_NO_DEVICE (100): no CUDA-capable device is detected"


GPU_A = "GPU-aaaaaaaa-0000-0000-0000-000000000001"
GPU_B = "GPU-bbbbbbbb-0000-0000-0000-000000000002"


def gpus(*uuids: str) -> list[str]:
    return [f'gpu {index} {uuid} {index} "Card" 1 0 9.0 -' for index, uuid in enumerate(uuids)]


def test_a_device_map_reaches_the_driver_completely(
    group: process_group.ProcessGroup, script: Script, target: Start
) -> None:
    pid = target().pid
    script.say(*gpus(GPU_A, GPU_B))
    with group:
        checkpointed(group, pid)
        group.restore(5, ((GPU_A, GPU_B), (GPU_B, GPU_A)))
        assert group.states(5) == {pid: "locked"}
    assert "pairs=2" in script.calls("restore ")[0]


def test_a_device_map_with_a_device_missing_is_refused_by_the_driver(
    group: process_group.ProcessGroup, script: Script, target: Start
) -> None:
    pid = target().pid
    script.say(*gpus(GPU_A, GPU_B))
    with group:
        checkpointed(group, pid)
        with pytest.raises(process_group.CudaLost, match="invalid argument"):
            group.restore(5, ((GPU_A, GPU_B),))


def test_a_device_map_before_580_is_refused_by_us(driver: str, script: Script, target: Start) -> None:
    pid = target().pid
    script.say("cuda 12080")
    with library(driver) as group:
        checkpointed(group, pid)
        with pytest.raises(CudaError, match=r"needs CUDA 13000 \(driver 580\), and this driver has 12080"):
            group.restore(5, ((GPU_A, GPU_B),))
    assert script.calls("restore ") == []


def test_a_mig_slice_is_no_device_of_a_map(driver: str, target: Start) -> None:
    pid = target().pid
    with library(driver) as group:
        checkpointed(group, pid)
        with pytest.raises(CudaError, match="expected the UUID of a full GPU"):
            group.restore(5, (("MIG-aaaaaaaa-0000-0000-0000-000000000001", GPU_B),))


def test_a_worker_that_dies_in_the_middle_of_a_word_is_noticed() -> None:
    """Half a line and then its end: nobody asks for the other half until the deadline."""
    worker = process_group._Worker.__new__(process_group._Worker)
    worker.says, say = os.pipe()
    worker.heard, worker.busy = b"", True
    os.write(say, b"o")
    assert worker.line() is None and worker.heard
    os.close(say)
    assert worker.line() is None and not worker.heard
    os.close(worker.says)
