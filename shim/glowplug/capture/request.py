"""What to capture, and what came of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Report = Callable[[str, str], None]
"""Gets each step: its name and a short text for a person."""


@dataclass(frozen=True, slots=True)
class Request:
    """`container` may be left out for a pod with one container; `container_id`, where it is known, says which one
    whatever the names say. `stop`: end the container afterwards.

    `max_pause_s`: refuse a capture that makes the container be paused for longer. `cold_start_s`: what a cold
    start took until the workload was ready, None where nobody measured it; a restore that would not be faster is
    not worth the capture. `canary`: what the workload answered before its capture (agent/captures/canary.py), kept
    with the images.
    """

    namespace: str
    pod: str
    container: str | None = None
    stop: bool = False
    container_id: str | None = None
    max_pause_s: float | None = None
    cold_start_s: float | None = None
    canary: Mapping[str, object] | None = None


@dataclass(slots=True)
class Result:
    """Sizes in bytes, times in seconds. `pause_s`: how long the container was paused. `trial`: what came of the trial
    of its checkpoint (capture/trial.py), "" where there was none. `notes`: what could not be known of its processes.
    `compile_cache`: what was kept of its compile caches (compile_cache.Kept, or the reason for nothing); empty where
    its pod asks for none.
    """

    checkpoint: str = ""
    namespace: str = ""
    pod: str = ""
    container: str = ""
    predicted_pause_s: float = 0.0
    pause_s: float = 0.0
    bytes: int = 0
    trial: str = ""
    notes: list[str] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=dict)
    compile_cache: dict[str, object] = field(default_factory=dict)
    container_id: str = ""
