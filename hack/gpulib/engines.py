"""Checks (h) to (l): a stock inference engine in pods of a real containerd, captured by the agent itself through the
pod's annotations alone, then restored.

Each reports, as JSON lines while it runs: a cold start with empty compile caches, one with warm caches (the node has
kept them: glowplug.dev/compile-cache), the capture, and each restore with its phases. Seconds count from
StartContainer, in which runc's `create` is, to the first correct answer. Every wait has an end, and the entire check
has one.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from glowplug.cache import layout
from hack.gpulib import engine_pods, left_in_images
from hack.gpulib.engine_pods import EnginePod, Place
from hack.gpulib.pods import Failed, Skipped
from hack.gpulib.setup import Setup

SHAPES = {"0.6b": "0.6B", "8b": "8B", "32b": "32B", "tiny": "tiny"}
WEIGHTS_GB = {"0.6b": 1.5, "8b": 16.4, "32b": 65.6, "tiny": 0.1}
GPU_SHARE = {"32b": "0.92"}
"""Of a GPU of 80 GB: the weights and the least of a KV cache fit. For smaller shapes half of it is plenty."""
MODEL_S = 240.0
COLD_S = 300.0
CAPTURE_S = 150.0
AWAKE_S = 60.0
RESTORES, EIGHT = 3, 8
LOGPROB_BOUND = 0.05
"""How far a log-probability may be from the first answer's: kernels that add in another order, no more."""


@dataclass(slots=True)
class Options:
    """What the command line says of the engines. `within_s`: the entire check's end; `lines`: a file for JSON lines."""

    shape: str = "0.6b"
    weights: str = "reload"
    vllm: str = "/opt/engine"
    sglang: str = "/opt/sglang"
    models: str = "/dev/shm"
    load_format: str = "instanttensor"
    memory: str = ""
    more: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    restores: int | None = None
    within_s: float = 570.0
    skip_empty: bool = False
    caches: str = ""
    huge: str = ""
    lines: str = ""
    began: float = field(default_factory=time.monotonic)

    @property
    def gpu_share(self) -> str:
        """Of the GPU's memory, for the engine: as requested, or what the shape needs."""
        return self.memory or GPU_SHARE.get(self.shape, "0.5")

    def left_s(self, most: float) -> float:
        """Seconds for the next step: so many at most, and no more than the check has. Raises Failed without any."""
        left = self.began + self.within_s - time.monotonic()
        if left <= 0:
            raise Failed(f"the check was not done after {self.within_s:g} s")
        return min(most, left)

    def say(self, what: str, **facts: Any) -> dict[str, Any]:
        """One line, at once: to standard output and the file."""
        line = {"t": round(time.monotonic() - self.began, 1), "what": what, **facts}
        text = json.dumps(line)
        print(text, flush=True)
        if self.lines:
            with open(self.lines, "a") as file:
                file.write(text + "\n")
        return line


def vllm(setup: Setup) -> dict[str, Any]:
    """(h) Stock vLLM, captured by the agent through annotations alone, restored three times."""
    return _run(setup, "vllm", gpus=setup.gpus[:1])


def sglang(setup: Setup) -> dict[str, Any]:
    """(i) Stock SGLang, the same way."""
    return _run(setup, "sglang", gpus=setup.gpus[:1])


def two_gpus(setup: Setup) -> dict[str, Any]:
    """(j) vLLM on two GPUs by tensor parallelism, the same way."""
    if len(setup.gpus) < 2:
        raise Skipped("one GPU")
    return _run(setup, "vllm", gpus=setup.gpus[:2])


def other_gpu(setup: Setup) -> dict[str, Any]:
    """(k) vLLM captured on one GPU, restored on another."""
    if len(setup.gpus) < 2:
        raise Skipped("one GPU")
    return _run(setup, "vllm", gpus=setup.gpus[:1], restore_on=setup.gpus[1:2])


def eight(setup: Setup) -> dict[str, Any]:
    """(l) Eight restores of vLLM in turns from one checkpoint."""
    made = setup.engines or Options()
    setup.engines = replace(made, restores=made.restores or EIGHT)
    return _run(setup, "vllm", gpus=setup.gpus[:1])


def _run(setup: Setup, engine: str, gpus: list[str], restore_on: list[str] | None = None) -> dict[str, Any]:
    chosen = setup.engines or Options()
    pack = chosen.vllm if engine == "vllm" else chosen.sglang
    if not setup.fake and not os.path.exists(f"{pack}/serve.sh"):
        raise Skipped(f"no {engine} at {pack}")
    lacking = [name for name in engine_pods.PROGRAMS if shutil.which(name) is None]
    if lacking:
        raise Skipped(f"no {', '.join(lacking)} here: hack/gpu-unpack")
    model = "" if setup.fake else _model(chosen, pack)
    with _huge_pages(chosen), Place(setup, engine, pack, model, chosen) as place:
        return _story(chosen, place, gpus, restore_on or gpus)


def _story(chosen: Options, place: Place, gpus: list[str], restore_on: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"engine": place.engine, "shape": chosen.shape, "weights": chosen.weights}
    first: Any = None
    if chosen.caches and os.path.exists(f"{chosen.caches}/{place.engine}.tar"):
        place.bake(f"{chosen.caches}/{place.engine}.tar")
    elif not chosen.skip_empty:
        with place.pod(gpus, capture="never") as pod:
            found["cold_empty_s"], first = _cold(chosen, pod, "cold, empty caches")
            _keep_caches(chosen, place, pod)
    with place.pod(gpus, capture="ready") as pod:
        found["cold_warm_s"] = _ready(chosen, pod, "cold, warm caches")
        found |= _captured(chosen, pod)
        answer = pod.answer(chosen.left_s(AWAKE_S))
        compared = chosen.say("answer after the capture", **_compared(first or answer, answer))
        # Of the instance that was captured: what its copies have to say, to the same two questions.
        began = time.monotonic()
        first = {**answer, "text": pod.text(chosen.left_s(AWAKE_S))}
        found["awake_answer_s"] = round(time.monotonic() - began, 3)
        _routes_are_private(chosen, pod)
    restored = []
    for number in range(chosen.restores or RESTORES):
        with place.pod(restore_on, capture="ready") as pod:
            restored.append(_restored(chosen, pod, first, number + 1))
    found["restored_s"] = [one["first_answer_s"] for one in restored]
    median = sorted(restored, key=lambda one: one["first_answer_s"])[len(restored) // 2]
    found["restored_median_s"] = median["first_answer_s"]
    found |= {name: median[name] for name in ("start_s", "awake_s", "phases", "hook_seconds", "memory_bytes")}
    found["times_faster_than_warm"] = round(found["cold_warm_s"] / found["restored_median_s"], 1)
    chosen.say("result", **found)
    if not compared["same_ids"]:
        raise Failed(
            "the instance that was captured answered otherwise, once it was awake again, than the one before it"
        )
    return found


def _keep_caches(chosen: Options, place: Place, pod: EnginePod) -> None:
    """What this pod has compiled: kept by the agent for the next one; where it is not, in that one's image."""
    kept = pod.event("compile-cache", chosen.left_s(AWAKE_S))
    said = {name: kept.get(name) for name in ("result", "files", "bytes", "left_out", "detail")}
    chosen.say("compile caches kept", **said)
    if chosen.caches or kept["result"] != "kept":
        layer = place.caches_of(pod, chosen.caches)
        if kept["result"] != "kept":
            place.bake(layer)


def _cold(chosen: Options, pod: EnginePod, what: str) -> tuple[float, Any]:
    """Seconds to the first answer, and the answer."""
    began = time.monotonic()
    pod.start()
    pod.wait_healthy(chosen.left_s(COLD_S))
    ready_s = round(time.monotonic() - began, 2)
    answer = pod.answer(chosen.left_s(AWAKE_S))
    seconds = round(time.monotonic() - began, 2)
    chosen.say(what, ready_s=ready_s, first_answer_s=seconds, outcome=pod.outcome(), text=answer["text"][:60])
    return seconds, answer


def _ready(chosen: Options, pod: EnginePod, what: str) -> float:
    """Seconds until it says that it serves; it is not queried any more, since it is captured then."""
    began = time.monotonic()
    pod.start()
    pod.wait_healthy(chosen.left_s(COLD_S))
    seconds = round(time.monotonic() - began, 2)
    chosen.say(what, ready_s=seconds, outcome=pod.outcome())
    return seconds


def _captured(chosen: Options, pod: EnginePod) -> dict[str, Any]:
    """Waits for the agent's word of its capture. Raises Failed with it where there is no checkpoint."""
    began = time.monotonic()
    found = pod.event("capture", chosen.left_s(CAPTURE_S))
    kept = {name: found.get(name) for name in ("result", "detail", "bytes", "pause_s", "phases")}
    chosen.say("capture", s=round(time.monotonic() - began, 2), **kept)
    if found["result"] != "captured":
        raise Failed(f"expected a capture, the agent says: {found}")
    checkpoint = layout.checkpoint(pod.place.node.names.cache, str(found["checkpoint"]))
    chosen.say("checkpoint", sizes=left_in_images.sizes(checkpoint))
    chosen.say("left in images", largest=left_in_images.by_kind(f"{checkpoint}/images"))
    pod.wait_awake(chosen.left_s(AWAKE_S))
    return {
        "checkpoint_bytes": found["bytes"],
        "pause_s": found["pause_s"],
        "asleep_s": found["phases"].get("asleep"),
        "gpu_memory_bytes": _gpu_memory_bytes(checkpoint),
        "capture_s": round(time.monotonic() - began, 2),
    }


def _gpu_memory_bytes(checkpoint: str) -> int:
    """The device memory that a restore brings back, as the checkpoint's manifest has it."""
    with open(f"{checkpoint}/manifest.json") as file:
        return int(json.load(file)["sizes"]["gpu_memory"])


def _restored(chosen: Options, pod: EnginePod, first: Any, number: int) -> dict[str, Any]:
    began = time.monotonic()
    pod.start()
    started_s = round(time.monotonic() - began, 3)
    outcome = pod.outcome()
    if outcome.get("outcome") != "restored":
        chosen.say("not restored", outcome=outcome)
        raise Failed(f"expected the outcome restored, got {outcome}")
    pod.wait_awake(chosen.left_s(AWAKE_S))
    awake_s = round(time.monotonic() - began, 3)
    text, was_repeated = _first_text(chosen, pod, first["text"])
    seconds = round(time.monotonic() - began, 3)
    woken = pod.event("after-restore", chosen.left_s(AWAKE_S))
    answer = pod.answer(chosen.left_s(AWAKE_S))
    compared = {**_compared(first, answer), "same_text": text == first["text"]}
    line = chosen.say(
        f"restore {number}",
        start_s=started_s,
        awake_s=awake_s,
        first_answer_s=seconds,
        phases=outcome.get("phases"),
        memory_bytes=outcome.get("memory_bytes"),
        repeated=was_repeated,
        hook=woken.get("result"),
        hook_seconds=woken.get("seconds"),
        restore_log=pod.restore_log(),
        **compared,
    )
    if not (compared["same_ids"] and compared["same_text"]) or compared["logprob_off"] > LOGPROB_BOUND:
        raise Failed(f"expected the answer from before the capture, got another: {compared}")
    return line


def _first_text(chosen: Options, pod: EnginePod, expected: str) -> tuple[str, bool]:
    """The first correct text, and whether it was requested twice.

    It is put while the agent's canary may be in flight. An engine that computes both in one batch adds in another
    order, and of a model with random weights another token may be the likeliest then: it is put once more, alone.
    """
    text = pod.text(chosen.left_s(AWAKE_S))
    if text == expected:
        return text, False
    pod.event("after-restore", chosen.left_s(AWAKE_S))
    return pod.text(chosen.left_s(AWAKE_S)), True


def _compared(first: Any, answer: Any) -> dict[str, Any]:
    off = [abs(one - other) for one, other in zip(first["logprobs"], answer["logprobs"], strict=False)]
    return {"same_ids": first["ids"] == answer["ids"], "logprob_off": round(max(off, default=0.0), 6)}


def _routes_are_private(chosen: Options, pod: EnginePod) -> None:
    """From elsewhere than the loopback: the routes that park it are 404, the others answer."""
    if not pod.place.has_middleware:
        return
    found = {path: pod.status_from_outside(path) for path in ("/is_sleeping", "/health")}
    chosen.say("from another address", **found)
    if found != {"/is_sleeping": 404, "/health": 200}:
        raise Failed(f"expected the engine's own routes to be hidden from other addresses, got {found}")


def _model(chosen: Options, pack: str) -> str:
    """The model's folder, made by the pack's program where it is not there yet."""
    size = SHAPES[chosen.shape]
    folder = f"{chosen.models}/{size}"
    if os.path.exists(f"{folder}/config.json"):
        return folder
    require_space(chosen)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, f"{pack}/mkmodel.py", folder, size],
        capture_output=True,
        text=True,
        timeout=chosen.left_s(MODEL_S),
    )
    if done.returncode != 0:
        raise Failed(f"the model {size} could not be made: {done.stderr[-2000:]}")
    chosen.say("model", folder=folder, s=round(time.monotonic() - began, 1))
    return folder


def require_space(chosen: Options) -> None:
    """Raises Failed where this machine has no space for the weights and for what a checkpoint holds of them."""
    weights = WEIGHTS_GB[chosen.shape] * 1e9
    found = os.statvfs(chosen.models)
    free = found.f_bavail * found.f_frsize
    if free < weights:
        has, needs = f"{free / 1e9:.0f} GB", f"{weights / 1e9:.0f} GB"
        raise Failed(f"{chosen.models} has {has} free, the shape {chosen.shape} needs {needs}")
    # Parked weights are in the container's memory and in the checkpoint, beside the model's own file.
    needed = weights * (3 if chosen.weights == "keep" else 1)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if memory < needed:
        raise Failed(
            f"{memory / 1e9:.0f} GB of memory, {chosen.weights} of the shape {chosen.shape} needs {needed / 1e9:.0f} GB"
        )


HUGE = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"


@contextlib.contextmanager
def _huge_pages(chosen: Options) -> Iterator[None]:
    """With shmem_enabled as requested, and as it was afterwards."""
    if not chosen.huge:
        yield
        return
    with open(HUGE) as file:
        before = file.read().split("[")[1].split("]")[0]
    try:
        with open(HUGE, "w") as file:
            file.write(chosen.huge)
        chosen.say("shmem_enabled", before=before, now=chosen.huge)
        yield
    finally:
        with open(HUGE, "w") as file:
            file.write(before)
