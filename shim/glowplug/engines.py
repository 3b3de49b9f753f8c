"""How inference servers are put to sleep before a capture and woken after it: a table of presets; no I/O.

A preset is a port, a path that says that the server serves, and requests in their order. It is the engine's own API
that parks it: each request says what its answer has to be, so that a server that only says 200 is not taken
for one that sleeps. Another engine is another row of PRESETS; a pod can do the same by hooks of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

RELOAD = "reload"
KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Step:
    """One request. Its answer needs a status from 200 to 299, and JSON with the members of `expected`.

    `keep`: members of the answer that later bodies may name as "$MEMBER". `body`: JSON, or "" for none.
    """

    method: str
    path: str
    body: str = ""
    expected: Mapping[str, object] = field(default_factory=dict)
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preset:
    """`ready`: the path that answers once the server serves. `sleep`, `wake`: requests in their order."""

    port: int
    ready: str
    sleep: tuple[Step, ...]
    wake: tuple[Step, ...]


def _vllm(sleep: Step, *wake: Step) -> Preset:
    """/is_sleeping is true until everything that was put away is back."""
    asleep, awake = (Step("GET", "/is_sleeping", expected={"is_sleeping": state}) for state in (True, False))
    return Preset(8000, "/health", (sleep, asleep), (*wake, awake))


def _sglang(*wake: Step) -> Preset:
    """It has no route that says whether it sleeps. /health_generate would make a token, but it looks for that once a
    second only: a canary shows more, and sooner.
    """
    release = Step("POST", "/release_memory_occupation", "{}")
    return Preset(30000, "/health", (release,), wake)


# vLLM: docs "Sleep Mode"; the routes are there with VLLM_SERVER_DEV_MODE=1 and --enable-sleep-mode. Level 1 keeps the
# weights in host memory, where the checkpoint finds them; level 2 drops them. SGLang: docs "SGLang for RL Systems",
# with --enable-memory-saver; --enable-weights-cpu-backup keeps the weights in host memory.
PRESETS: Mapping[str, Mapping[str, Preset]] = {
    "vllm": {
        KEEP: _vllm(Step("POST", "/sleep?level=1"), Step("POST", "/wake_up")),
        RELOAD: _vllm(
            Step("POST", "/sleep?level=2"),
            Step("POST", "/wake_up?tags=weights"),
            Step("POST", "/collective_rpc", '{"method": "reload_weights"}'),
            Step("POST", "/wake_up?tags=kv_cache"),
        ),
    },
    "sglang": {
        KEEP: _sglang(Step("POST", "/resume_memory_occupation", "{}")),
        RELOAD: _sglang(
            Step("POST", "/resume_memory_occupation", '{"tags": ["weights"]}'),
            Step("GET", "/get_model_info", keep=("model_path",)),
            Step("POST", "/update_weights_from_disk", '{"model_path": "$model_path"}', {"success": True}),
            Step("POST", "/resume_memory_occupation", '{"tags": ["kv_cache", "cuda_graph"]}'),
        ),
    },
}
