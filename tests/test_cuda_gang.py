"""The driver's calls on several processes at once: each answer of the driver leads where the container
needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from tests.cuda_target import Script, Target

from glowplug.cuda import gang
from glowplug.errors import CudaError

pytest_plugins = ["tests.cuda_target"]

Start = Callable[..., Target]


@pytest.fixture(params=["driver", "program"])
def crew(request: pytest.FixtureRequest, driver: str) -> gang.Gang:
    return gang.Gang(request.param, f"{driver}/libcuda.so.1", f"{driver}/cuda-checkpoint")


def library(driver: str) -> gang.Gang:
    return gang.Gang("driver", f"{driver}/libcuda.so.1")


def test_a_cycle_goes_through_every_state_of_every_process(crew: gang.Gang, target: Start) -> None:
    pids = [target().pid, target().pid]
    with crew:
        assert crew.enlist(pids) == {}
        seen = [crew.states(5)]
        crew.lock(5)
        seen.append(crew.states(5))
        crew.checkpoint(5)
        seen.append(crew.states(5))
        crew.restore(5)
        crew.unlock(5)
        seen.append(crew.states(5))
    expected = ("running", "locked", "checkpointed", "running")
    assert seen == [dict.fromkeys(pids, state) for state in expected]


def test_the_calls_are_made_at_once(driver: str, script: Script, target: Start) -> None:
    first, second = target().pid, target().pid
    with library(driver) as crew:
        crew.enlist([first, second])
        crew.lock(5)
        # The first process's call ends only when the second's has been made too.
        script.say(f"hang checkpoint {first}")
        tended = []

        def second_was_asked() -> None:
            if f"checkpoint {second}" in script.calls():
                script.say()
            tended.append(1)

        crew.checkpoint(20, meanwhile=second_was_asked)
    assert tended


def test_a_process_without_cuda_is_no_member(crew: gang.Gang, target: Start) -> None:
    holder = target().pid
    with crew:
        others = crew.enlist([holder, os.getpid()])
        assert crew.pids == [holder]
    assert list(others) == [os.getpid()]
    assert "initialization error" in others[os.getpid()]


def test_a_process_that_must_have_cuda_and_has_none_is_an_error(crew: gang.Gang, target: Start) -> None:
    with crew, pytest.raises(CudaError, match=f"wanted CUDA in every process that had it.*{os.getpid()}"):
        crew.enlist([target().pid, os.getpid()], expected=[os.getpid()])


def test_an_error_names_call_process_result_and_the_drivers_words(
    driver: str, script: Script, target: Start
) -> None:
    pid = target().pid
    script.say("fail lock any 600")
    with library(driver) as crew:
        crew.enlist([pid])
        with pytest.raises(CudaError) as raised:
            crew.lock(1)
    assert not isinstance(raised.value, gang.CudaLost)
    assert f"cuCheckpointProcessLock of process {pid}: CUDA_ERROR_NOT_READY (600): device not ready" in str(
        raised.value
    )


def test_a_result_that_the_driver_has_no_words_for_is_told_by_number(
    driver: str, script: Script, target: Start
) -> None:
    pid = target().pid
    script.say("fail lock any 777")
    with library(driver) as crew:
        crew.enlist([pid])
        with pytest.raises(CudaError, match=r"\(777\)"):
            crew.lock(1)


def test_the_program_is_quoted(driver: str, script: Script, target: Start) -> None:
    pid = target().pid
    script.say("fail lock any 801")
    with gang.Gang("program", program=f"{driver}/cuda-checkpoint") as crew:
        crew.enlist([pid])
        with pytest.raises(
            CudaError, match=f'exit status 1.*Could not lock on process ID {pid}: "operation not supported"'
        ):
            crew.lock(1)


def test_a_lock_gets_the_timeout_in_milliseconds(crew: gang.Gang, script: Script, target: Start) -> None:
    pid = target().pid
    with crew:
        crew.enlist([pid])
        crew.lock(1.5)
    assert script.calls("lock") == [f"lock {pid} timeout=1500"]


def test_when_one_lock_fails_the_locked_are_unlocked(crew: gang.Gang, script: Script, target: Start) -> None:
    good, bad = target().pid, target().pid
    script.say(f"fail lock {bad} 600")
    with crew:
        crew.enlist([good, bad])
        with pytest.raises(CudaError):
            crew.lock(1)
        assert crew.states(5) == {good: "running", bad: "running"}
    assert len(script.calls(f"unlock {good}")) == 1


def test_when_one_checkpoint_fails_cleanly_every_process_runs_again(
    crew: gang.Gang, script: Script, target: Start
) -> None:
    good, bad = target().pid, target().pid
    with crew:
        crew.enlist([good, bad])
        crew.lock(5)
        script.say(f"fail checkpoint {bad} 801")
        with pytest.raises(CudaError) as raised:
            crew.checkpoint(5)
        assert not isinstance(raised.value, gang.CudaLost)
        assert crew.states(5) == {good: "running", bad: "running"}


def test_a_process_that_failed_its_checkpoint_is_lost(crew: gang.Gang, script: Script, target: Start) -> None:
    pid = target().pid
    with crew:
        crew.enlist([pid])
        crew.lock(5)
        script.say(f"fail checkpoint {pid} 999", f"state {pid} 3")
        with pytest.raises(gang.CudaLost, match=f"process {pid} is failed: kill the container"):
            crew.checkpoint(5)


@pytest.mark.parametrize("call", ["restore", "unlock"])
def test_a_failed_restore_or_unlock_is_a_lost_container(
    call: str, crew: gang.Gang, script: Script, target: Start
) -> None:
    pid = target().pid
    with crew:
        crew.enlist([pid])
        crew.lock(5)
        crew.checkpoint(5)
        script.say(f"fail {call} {pid} 801")
        with pytest.raises(gang.CudaLost, match="operation not supported"):
            crew.restore(5)
            crew.unlock(5)


@pytest.mark.parametrize("call", ["checkpoint", "restore", "unlock"])
def test_a_hanging_call_is_left_behind_at_the_deadline(
    call: str, crew: gang.Gang, script: Script, target: Start
) -> None:
    stuck, other = target().pid, target().pid
    with crew:
        crew.enlist([stuck, other])
        script.say(f"hang {call} {stuck}")
        crew.lock(5)
        with pytest.raises(gang.CudaLost, match=f"{call} process {stuck}: the driver did not answer in time"):
            crew.checkpoint(0.5)
            crew.restore(0.5)
            crew.unlock(0.5)
        assert crew.pids == [other]


def test_a_process_that_can_not_be_asked_in_time_is_no_loss(
    crew: gang.Gang, script: Script, target: Start
) -> None:
    pid = target().pid
    with crew:
        crew.enlist([pid])
        script.say(f"hang state {pid}")
        with pytest.raises(CudaError) as raised:
            crew.states(0.3)
    assert not isinstance(raised.value, gang.CudaLost)


def test_a_driver_that_kills_its_caller_kills_only_the_worker(
    driver: str, script: Script, target: Start
) -> None:
    pid = target().pid
    with library(driver) as crew:
        crew.enlist([pid])
        crew.lock(5)
        script.say(f"crash checkpoint {pid}")
        with pytest.raises(gang.CudaLost, match="worker died in the call"):
            crew.checkpoint(5)


def test_no_worker_outlives_its_gang(crew: gang.Gang, script: Script, target: Start) -> None:
    pid = target().pid
    with crew:
        crew.start(3)
        crew.enlist([pid])
        workers = [worker.pid for worker in [*crew._idle, *crew._workers.values()]]
        script.say(f"hang state {pid}")
        with pytest.raises(CudaError):
            crew.states(0.1)
    assert len(workers) == 3
    assert [worker for worker in workers if os.path.exists(f"/proc/{worker}")] == []


def test_a_worker_holds_none_of_our_descriptors(driver: str, target: Start) -> None:
    given, taken = os.pipe()
    os.set_inheritable(taken, True)
    with library(driver) as crew:
        crew.enlist([target().pid])
        os.close(taken)
        assert os.read(given, 1) == b""  # blocks while anyone else holds the other end
    os.close(given)


def test_cuinit_is_called_where_the_driver_asks_for_it(driver: str, script: Script, target: Start) -> None:
    pid = target().pid
    script.say("needs-init")
    with library(driver) as crew:
        crew.enlist([pid])
        assert crew.states(5) == {pid: "running"}


def test_a_failing_cuinit_is_told(driver: str, script: Script, target: Start) -> None:
    pid = target().pid
    script.say("needs-init", "init 100")
    with library(driver) as crew:
        others = crew.enlist([pid])
    assert others[pid] == "cuInit: CUDA_ERROR_NO_DEVICE (100): no CUDA-capable device is detected"


GPU_A = "GPU-aaaaaaaa-0000-0000-0000-000000000001"
GPU_B = "GPU-bbbbbbbb-0000-0000-0000-000000000002"


def gpus(*uuids: str) -> list[str]:
    return [f'gpu {index} {uuid} {index} "Card" 1 0 9.0 -' for index, uuid in enumerate(uuids)]


def test_a_device_map_reaches_the_driver_whole(crew: gang.Gang, script: Script, target: Start) -> None:
    pid = target().pid
    script.say(*gpus(GPU_A, GPU_B))
    with crew:
        crew.enlist([pid])
        crew.lock(5)
        crew.checkpoint(5)
        crew.restore(5, ((GPU_A, GPU_B), (GPU_B, GPU_A)))
        assert crew.states(5) == {pid: "locked"}
    assert "pairs=2" in script.calls("restore ")[0]


def test_a_device_map_with_a_device_missing_is_refused_by_the_driver(
    crew: gang.Gang, script: Script, target: Start
) -> None:
    pid = target().pid
    script.say(*gpus(GPU_A, GPU_B))
    with crew:
        crew.enlist([pid])
        crew.lock(5)
        crew.checkpoint(5)
        with pytest.raises(gang.CudaLost, match="invalid argument"):
            crew.restore(5, ((GPU_A, GPU_B),))


def test_a_device_map_before_580_is_refused_by_us(driver: str, script: Script, target: Start) -> None:
    pid = target().pid
    script.say("cuda 12080")
    with library(driver) as crew:
        crew.enlist([pid])
        crew.lock(5)
        crew.checkpoint(5)
        with pytest.raises(CudaError, match=r"wants CUDA 13000 \(driver 580\), found 12080"):
            crew.restore(5, ((GPU_A, GPU_B),))
    assert script.calls("restore ") == []


def test_a_mig_slice_is_no_device_of_a_map(driver: str, target: Start) -> None:
    pid = target().pid
    with library(driver) as crew:
        crew.enlist([pid])
        crew.lock(5)
        crew.checkpoint(5)
        with pytest.raises(CudaError, match="wanted the UUID of a whole GPU"):
            crew.restore(5, (("MIG-aaaaaaaa-0000-0000-0000-000000000001", GPU_B),))


def test_a_worker_that_dies_in_the_middle_of_a_word_is_noticed() -> None:
    """Half a line and then its end: nobody asks for the other half until the deadline."""
    worker = gang._Worker.__new__(gang._Worker)
    worker.says, say = os.pipe()
    worker.heard, worker.busy = b"", True
    os.write(say, b"o")
    assert worker.line() is None and worker.heard
    os.close(say)
    assert worker.line() is None and not worker.heard
    os.close(worker.says)
