"""Until its CUDA state is back, no thread of a restored CUDA process runs but the driver's restore thread."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from tests.cuda_target import Script, Target, as_criu_leaves

from glowplug.cuda import process_group, processes, ptrace_hold, resume, suspend
from glowplug.errors import CriuError, CudaError

pytest_plugins = ["tests.cuda_target"]

Start = Callable[..., Target]


@pytest.fixture
def restored(driver: str, target: Start) -> Callable[..., Target]:
    """A CUDA process as CRIU leaves it: CUDA checkpointed, every thread in a group stop."""

    def start(threads: int = 3) -> Target:
        return as_criu_leaves(target(threads), driver)

    return start


def opened(driver: str, count: int = 1) -> resume.Resumption:
    return resume.open_resumption(count, "driver", f"{driver}/libcuda.so.1")


def counts_on(process: Target) -> bool:
    """Whether every thread counts further, within half a minute."""
    before = process.counters()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if all(now > then for now, then in zip(process.counters(), before, strict=True)):
            return True
        time.sleep(0.01)
    return False


def test_only_the_restore_thread_runs_until_go(driver: str, script: Script, restored: Start) -> None:
    processes_back = [restored(), restored(1)]
    pids = [process.pid for process in processes_back]
    before = [process.counters() for process in processes_back]
    with opened(driver, 2) as back:
        assert back.bring_back(pids, pids, (), 20) == sorted(pids)
        assert [process.counters() for process in processes_back] == before
        back.release()
        assert all(counts_on(process) for process in processes_back)
    assert len(script.calls("restore ")) == len(script.calls("unlock")) == 2
    for call in [*script.calls("restore "), *script.calls("unlock")]:
        assert call.endswith("others-running=0")


def test_the_driver_looks_at_a_process_only_when_its_memory_is_there(
    driver: str, script: Script, restored: Start
) -> None:
    process = restored()
    with opened(driver) as back:
        before = script.calls()
        seen: list[list[str]] = []

        def memory_is_there() -> None:
            seen.append(script.calls())

        back.bring_back([process.pid], [process.pid], (), 20, memory_is_there)
        back.release()
    assert seen == [before]
    assert len(script.calls()) > len(before)


def test_where_its_memory_does_not_come_the_driver_restores_nothing(
    driver: str, script: Script, restored: Start
) -> None:
    process = restored()

    def memory_is_there() -> None:
        raise CriuError("an extent is cut short")

    with pytest.raises(CriuError, match="cut short"), opened(driver) as back:
        back.bring_back([process.pid], [process.pid], (), 20, memory_is_there)
    assert not script.calls("restore ")


def test_processes_that_run_already_are_stopped_too(driver: str, script: Script, restored: Start) -> None:
    process = restored()
    os.kill(process.pid, signal.SIGCONT)
    assert counts_on(process)
    with opened(driver) as back:
        back.bring_back([process.pid], [process.pid], (), 20)
        back.release()
        assert counts_on(process)
    assert script.calls("restore ")[0].endswith("others-running=0")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("fail restore any 801", "CUDA_ERROR_NOT_SUPPORTED"),
        ("hang restore any", "did not answer in time"),
        ("fail unlock any 401", "CUDA_ERROR_ILLEGAL_STATE"),
        ("crash restore any", "worker died"),
    ],
)
def test_a_failed_restore_kills_the_process_without_a_step_of_its_own(
    line: str, said: str, driver: str, script: Script, restored: Start
) -> None:
    process = restored()
    before = process.counters()
    script.say(line)
    with pytest.raises(process_group.CudaLost, match=said), opened(driver) as back:
        back.bring_back([process.pid], [process.pid], (), 1)
    assert not process.alive()
    assert process.counters() == before


def test_an_end_without_go_kills(driver: str, restored: Start) -> None:
    process = restored()
    with opened(driver) as back:
        back.bring_back([process.pid], [process.pid], (), 20)
    assert not process.alive()


def test_a_killed_runtime_takes_the_stopped_processes_with_it(driver: str, restored: Start) -> None:
    process = restored()
    before = process.counters()
    runtime = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from glowplug.cuda import ptrace_hold\n"
            "ptrace_hold.Hold().seize(int(sys.argv[1]), 5); print('traced', flush=True); time.sleep(60)",
            str(process.pid),
        ],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "shim"},
    )
    assert runtime.stdout is not None
    assert runtime.stdout.readline() == b"traced\n"
    runtime.kill()
    runtime.wait(timeout=60)
    runtime.stdout.close()
    os.waitpid(process.pid, 0)
    assert process.counters() == before


def test_a_cuda_process_that_the_driver_no_longer_knows_is_an_error(
    driver: str, script: Script, restored: Start
) -> None:
    process = restored()
    script.say("fail restore-thread any 3")
    with pytest.raises(CudaError, match="processes that used CUDA at the capture"), opened(driver) as back:
        back.bring_back([process.pid], [process.pid], (), 20)


def test_a_restored_cuda_process_that_is_missing_is_an_error(driver: str, restored: Start) -> None:
    process = restored()
    with (
        pytest.raises(CudaError, match=r"\[999999\] are missing"),
        opened(driver) as back,
    ):
        back.bring_back([process.pid], [process.pid, 999999], (), 20)


def test_a_stopped_process_gets_its_signals_after_go(driver: str, restored: Start) -> None:
    process = restored()
    with opened(driver) as back:
        back.bring_back([process.pid], [process.pid], (), 20)
        os.kill(process.pid, signal.SIGTERM)
        assert process.alive()
        fd = os.pidfd_open(process.pid)
        back.release()
        assert select.select([fd], [], [], 30)[0] == [fd]
        os.close(fd)


def test_a_thread_that_is_traced_already_is_reported(restored: Start) -> None:
    process = restored()
    first, second = ptrace_hold.Hold(), ptrace_hold.Hold()
    failed: list[CudaError] = []

    def try_to_hold() -> None:
        try:
            second.seize(process.pid, 1)
        except CudaError as error:
            failed.append(error)

    with first:
        first.seize(process.pid, 5)
        other = threading.Thread(target=try_to_hold)
        other.start()
        other.join()
    assert "is it being traced?" in str(failed[0])


def test_a_process_that_is_gone_can_not_be_stopped(restored: Start) -> None:
    process = restored()
    process.end()
    with pytest.raises(CudaError, match="is gone"), ptrace_hold.Hold() as hold:
        hold.seize(process.pid, 1)


def test_a_capture_finds_only_running_cuda(driver: str, script: Script, target: Start, plain: int) -> None:
    process = target()
    with suspend.Suspension("driver", f"{driver}/libcuda.so.1") as suspension:
        assert suspension.find([process.pid, plain]) == [process.pid]
    script.say(f"state {process.pid} 2")
    with (
        suspend.Suspension("driver", f"{driver}/libcuda.so.1") as suspension,
        pytest.raises(CudaError, match=rf"got {process.pid} \(target\) is checkpointed"),
    ):
        suspension.find([process.pid])


def test_a_container_without_cuda_starts_no_worker(plain: int) -> None:
    with suspend.Suspension("driver", "libnone.so.1") as suspension:
        assert suspension.find([plain]) == []


def test_processes_are_found_by_what_they_map(target: Start, plain: int) -> None:
    process = target()
    assert processes.mapping_libcuda([process.pid, plain, 999999]) == [process.pid]
    assert processes.library_version(process.pid) == "1"
    assert processes.namespace_pid(process.pid) == process.pid


def test_a_killed_capture_leaves_a_running_container(driver: str, script: Script, target: Start) -> None:
    processes_with_cuda = [target(), target()]
    capture = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from glowplug.cuda import suspend\n"
            "s = suspend.Suspension('driver', sys.argv[1]); s.find([int(p) for p in sys.argv[2:]])\n"
            "s.suspend(5, 5); print('away', flush=True); time.sleep(60)",
            f"{driver}/libcuda.so.1",
            *(str(process.pid) for process in processes_with_cuda),
        ],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "shim"},
    )
    assert capture.stdout is not None
    assert capture.stdout.readline() == b"away\n"
    capture.kill()
    capture.wait(timeout=60)
    capture.stdout.close()
    assert_running(driver, [process.pid for process in processes_with_cuda])


def test_an_interrupted_capture_lets_the_call_end_and_restores_cuda(
    driver: str, script: Script, target: Start
) -> None:
    process = target()
    suspension = suspend.Suspension("driver", f"{driver}/libcuda.so.1")
    with pytest.raises(KeyboardInterrupt), suspension:
        suspension.find([process.pid])
        script.say("delay checkpoint any 1000")
        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        suspension.suspend(5, 20)
    assert_running(driver, [process.pid])
    assert len(script.calls("restore ")) == 1


@pytest.mark.parametrize("step", ["checkpoint", "restore"])
def test_a_worker_that_dies_between_two_calls_leaves_a_running_container(
    step: str, driver: str, target: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the OOM killer, say: the other process is ahead of its own then."""
    pids = [target().pid, target().pid]
    call = getattr(process_group.ProcessGroup, step)

    def after_a_death(group: process_group.ProcessGroup, *arguments: float) -> None:
        victim = group.worker_pids[-1]
        os.kill(victim, signal.SIGKILL)
        os.waitid(os.P_PID, victim, os.WEXITED | os.WNOWAIT)
        call(group, *arguments)

    monkeypatch.setattr(process_group.ProcessGroup, step, after_a_death)
    with (
        pytest.raises(process_group.WorkerDied, match="died before: " + step),
        suspend.Suspension("driver", f"{driver}/libcuda.so.1") as suspension,
    ):
        suspension.find(pids)
        suspension.suspend(5, 20)
        suspension.resume(20)
    assert_running(driver, pids)


def interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def assert_running(driver: str, pids: list[int]) -> None:
    """Within ten seconds the driver says of each process that its CUDA runs."""
    deadline = time.monotonic() + 60
    with process_group.ProcessGroup("driver", f"{driver}/libcuda.so.1") as group:
        group.attach(pids)
        while set((states := group.states(5)).values()) != {"running"}:
            assert time.monotonic() < deadline, states
            time.sleep(0.02)
