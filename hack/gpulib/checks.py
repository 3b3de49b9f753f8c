"""The checks (a) to (l): each takes the setup, and returns its figures or raises Failed. Seconds throughout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from glowplug.criu import config
from hack.gpulib import engines, spec
from hack.gpulib.pods import WORKLOADS, Failed, Pod, Workload, end, wait_until
from hack.gpulib.setup import Setup

READY_S = 240.0
ANSWER_S = 60.0
HOG_LEAVES_GIB = 4
BALLAST_GIB = 8
SLACK = 64 << 20
"""Bytes by which a GPU's use may differ from before; the driver's own bookkeeping moves by a few."""


def tokens(setup: Setup) -> dict[str, Any]:
    """(a) Tokens in CPU memory, a file and a device tensor: captured, killed, restored, twice over."""
    workload = setup.workload("tokens", "tokens.py")
    pod, cold = _start(setup, workload, "/tokens", "cold:")
    planted = pod.ask("/tokens", ANSWER_S)
    steps = pod.ask("/step", ANSWER_S)["steps"]
    first = _capture_alive(setup, pod, "/tokens", planted)
    _expect(steps + 1, pod.ask("/step", ANSWER_S)["steps"], "the device's counter after the capture")
    pod.remove()
    times, captures = [], [first]
    for captures_again in (True, False):
        pod, seconds = _start(setup, workload, "/tokens", "restored")
        times.append(seconds)
        _expect(planted, pod.ask("/tokens", ANSWER_S), "the tokens planted before the capture")
        steps += 1  # each checkpoint was taken at the step before
        _expect(steps, pod.ask("/step", ANSWER_S)["steps"], "the device's counter after the restore")
        if captures_again:
            captures.append(_capture_alive(setup, pod, "/tokens", planted))
        outcome = pod.outcome()
        pod.remove()
    return {
        "cold_s": cold,
        "restore_s": times,
        "pause_s": [capture["pause_s"] for capture in captures],
        "capture_phases": captures[0]["phases"],
        "restore_phases": outcome.get("phases"),
    }


def server(setup: Setup) -> dict[str, Any]:
    """(b) A Transformers server: cold start to first correct answer, against restore to first correct
    answer.
    """
    if setup.fake:
        raise Failed("expected a GPU for a Transformers server, got the fake driver")
    size = _size()
    folder = tempfile.mkdtemp(prefix="gpu-check-weights-", dir="/dev/shm")
    try:
        parameters = int(_program("weights.py", folder, size).split()[-1])
        mounts = [spec.bind(folder, "/weights")]
        env = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
        workload = setup.workload("llama", "llama.py", env=env, mounts=mounts)
        return {"model": size, "parameters": parameters, **_serve(setup, workload)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _serve(setup: Setup, workload: Workload) -> dict[str, Any]:
    # The first start reads libraries into the page cache, which a restore finds there too.
    cold: list[float] = []
    for _ in range(2):
        pod, seconds = _start(setup, workload, "/generate", "cold:")
        cold.append(seconds)
        planted = pod.ask("/generate", ANSWER_S)
        if len(cold) == 1:
            pod.remove()
    capture = setup.node.capture(pod)
    _expect(planted, pod.ask("/generate", ANSWER_S), "the answer after the capture")
    pod.remove()
    restored: list[float] = []
    for _ in range(2):
        pod, seconds = _start(setup, workload, "/generate", "restored")
        restored.append(seconds)
        _expect(planted, pod.ask("/generate", ANSWER_S), "the answer and the token from before the capture")
        phases = pod.outcome().get("phases")
        pod.remove()
    found = {
        "cold_s": min(cold),
        "restore_s": min(restored),
        "cold_all_s": cold,
        "restore_all_s": restored,
        "checkpoint_bytes": capture["bytes"],
        "pause_s": capture["pause_s"],
        "capture_phases": capture["phases"],
        "restore_phases": phases,
    }
    if min(cold) < 2 * min(restored):
        raise Failed(f"expected a restore at least twice as fast as a cold start, got {found}")
    return found


def workers(setup: Setup) -> dict[str, Any]:
    """(c) A parent without CUDA and two worker processes that use it."""
    workload = setup.workload("workers", "workers.py")
    pod, cold = _start(setup, workload, "/tokens", "cold:")
    planted = pod.ask("/tokens", ANSWER_S)
    capture = _capture_alive(setup, pod, "/tokens", planted)
    pod.remove()
    pod, restore = _start(setup, workload, "/tokens", "restored")
    _expect(planted, pod.ask("/tokens", ANSWER_S), "both workers' tokens")
    _expect([1, 1], pod.ask("/step", ANSWER_S), "one step on each worker's device")
    phases = pod.outcome().get("phases")
    pod.remove()
    return {"cold_s": cold, "restore_s": restore, "pause_s": capture["pause_s"], "restore_phases": phases}


def failed_restore(setup: Setup) -> dict[str, Any]:
    """(d) A device restore that fails, for lack of device memory: cold start, and the memory free again."""
    used = _memory_at_rest(setup)
    workload = setup.workload("ballast", "tokens.py", env={"CHECK_BALLAST_GIB": str(BALLAST_GIB)})
    pod, _ = _start(setup, workload, "/tokens", "cold:")
    planted = pod.ask("/tokens", ANSWER_S)
    setup.node.capture(pod)
    pod.remove()
    with _Hog(setup):
        pod, seconds = _start(setup, workload, "/tokens", "fallback:")
        found = pod.ask("/tokens", ANSWER_S)
        if found["memory"] == planted["memory"]:
            raise Failed("expected a cold start after a failed device restore, got the captured process")
        outcome = pod.outcome()
        pod.remove()
    after = _memory_at_rest(setup, used)
    pod, _ = _start(setup, workload, "/tokens", ("restored", "cold:"))  # quarantined or not: it must start
    pod.remove()
    return {
        "fallback_s": seconds,
        "outcome": outcome["outcome"],
        "detail": outcome.get("detail"),
        "gpu_bytes_before": used,
        "gpu_bytes_after": after,
    }


def another_gpu(setup: Setup) -> dict[str, Any]:
    """(e) Captured in a container with one GPU assigned, restored in one with another."""
    if len(setup.gpus) < 2:
        raise Failed(f"expected two GPUs, got {len(setup.gpus)}")
    pod, cold = _start(setup, setup.workload("tokens2", "tokens.py", gpu=0), "/tokens", "cold:")
    planted = pod.ask("/tokens", ANSWER_S)
    first = pod.ask("/step", ANSWER_S)["where"]
    setup.node.capture(pod)
    pod.remove()
    pod, restore = _start(setup, setup.workload("tokens2", "tokens.py", gpu=1), "/tokens", "restored")
    _expect(planted, pod.ask("/tokens", ANSWER_S), "the tokens planted on the other GPU")
    busy = _busy(setup, pod)
    _expect([1], busy, "the GPUs that the restored container uses")
    phases = pod.outcome().get("phases")
    pod.remove()
    return {
        "cold_s": cold,
        "restore_s": restore,
        "captured_on": first,
        "uses": busy,
        "restore_phases": phases,
    }


def task_checkpoint(setup: Setup) -> dict[str, Any]:
    """(f) `checkpoint` of a paused container, as `ctr task checkpoint` has it: it continues, then it ends."""
    pod, _ = _start(setup, setup.workload("tasks", "tokens.py"), "/tokens", "cold:")
    planted = pod.ask("/tokens", ANSWER_S)
    images = tempfile.mkdtemp(prefix="images-", dir=setup.node.state)
    pod.runtime("pause")
    began = time.monotonic()
    _task_checkpoint(pod, images, "first", "--leave-running")
    seconds = round(time.monotonic() - began, 3)
    _expect("paused", pod.status(), "the container as it was found")
    pod.runtime("resume")
    _expect(planted, pod.ask("/tokens", ANSWER_S), "the tokens in the container that continued")
    _expect(1, pod.ask("/step", ANSWER_S)["steps"], "the device's counter")
    pod.runtime("pause")
    _task_checkpoint(pod, images, "second")
    wait_until(lambda: not pod.alive(), 30, "the end of a container that was to end with its checkpoint")
    setup.require_suspended(pod.pid, 2)
    for name in ("first", "second"):
        if not os.path.exists(f"{images}/{name}/inventory.img"):
            raise Failed(f"the {name} checkpoint has no CRIU images")
    pod.remove()
    return {"checkpoint_s": seconds}


def through_containerd(setup: Setup) -> dict[str, Any]:
    """(g) As (a), in pods of a real containerd; then its own checkpoints, `ctr task checkpoint` and CRI's."""
    from hack.gpulib import cri  # with what the integration tests stand on

    return cri.tokens(setup)


def _task_checkpoint(pod: Pod, images: str, name: str, *flags: str) -> None:
    work = f"{images}/{name}-work"
    try:
        pod.runtime("checkpoint", *flags, "--image-path", f"{images}/{name}", "--work-path", work)
    except Failed as error:
        raise Failed(f"{error}; CRIU: {config.log_errors(f'{work}/dump.log', 12)}") from error


CHECKS: dict[str, Callable[[Setup], dict[str, Any]]] = {
    "a": tokens,
    "b": server,
    "c": workers,
    "d": failed_restore,
    "e": another_gpu,
    "f": task_checkpoint,
    "g": through_containerd,
    "h": engines.vllm,
    "i": engines.sglang,
    "j": engines.two_gpus,
    "k": engines.other_gpu,
    "l": engines.eight,
}


def _start(setup: Setup, workload: Workload, path: str, outcome: str | tuple[str, ...]) -> tuple[Pod, float]:
    """A new pod with its server's first answer, and the seconds from create to that answer."""
    pod = setup.node.pod(workload)
    created = pod.create()
    began = time.monotonic()
    pod.ready(path, READY_S)
    seconds = round(created + time.monotonic() - began, 3)
    found = pod.outcome()
    if not str(found["outcome"]).startswith(outcome):
        raise Failed(f"expected the outcome {outcome}, got {found['outcome']}: {found.get('detail')}")
    if found["outcome"] == "restored":
        setup.require_ptrace_hold(pod.pid)
    return pod, seconds


def _capture_alive(setup: Setup, pod: Pod, path: str, planted: object) -> dict[str, Any]:
    """A capture that the container lives through unchanged."""
    capture = setup.node.capture(pod)
    _expect(planted, pod.ask(path, ANSWER_S), "the tokens in the container that continued after its capture")
    return capture


def _expect(wanted: Any, found: Any, what: str) -> Any:
    if wanted != found:
        raise Failed(f"expected {what}: {wanted}, got {found}")
    return found


def _memory_at_rest(setup: Setup, before: int | None = None) -> int:
    """Bytes in use on the first GPU, once no more than before."""
    if setup.fake:
        return 0
    from glowplug.cuda import facts

    if before is None:
        return facts.memory_used(0)
    wait_until(lambda: facts.memory_used(0) <= before + SLACK, 30, f"the GPU's memory back at {before} bytes")
    return facts.memory_used(0)


def _busy(setup: Setup, pod: Pod) -> list[int]:
    """NVML's indexes of the GPUs on which processes of a pod are."""
    from glowplug.cuda import facts
    from glowplug.host import process

    members = set(process.tree(pod.pid))
    return [index for index in range(len(setup.gpus)) if members & set(facts.memory_by_process(index))]


def _size() -> str:
    """8B parameters take four times 16 GB of host memory: weights, the process's copy, dump, page cache."""
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
    chosen = os.environ.get("GPU_CHECK_MODEL")
    return chosen or ("8b" if available > 90 else "1b" if available > 16 else "tiny")


def _program(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, f"{WORKLOADS}/{name}", *arguments], capture_output=True, text=True, timeout=300
    )
    if done.returncode != 0:
        raise Failed(f"expected {name} to succeed, got {done.stderr[-2000:]}")
    return done.stdout


class _Hog:
    """While this is open, a CUDA restore fails: the device's memory is taken, or the fake driver set so."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> None:
        if self._setup.fake:
            self._setup.fail_restores(True)
            return
        self._process = subprocess.Popen(
            [sys.executable, f"{WORKLOADS}/hog.py", str(HOG_LEAVES_GIB)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline().startswith("ready"):
            raise Failed("the process that takes the device's memory failed")

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            self._setup.fail_restores(False)
        else:
            end(self._process)
