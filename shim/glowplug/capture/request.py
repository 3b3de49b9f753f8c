"""What to capture, and what came of it."""

from collections.abc import Callable
from dataclasses import dataclass, field

Report = Callable[[str, str], None]
"""Told of each step: its name and a short text for a person."""


@dataclass(frozen=True, slots=True)
class Request:
    """`container` may be left out for a pod with one container. `stop`: end the container afterwards."""

    namespace: str
    pod: str
    container: str | None = None
    stop: bool = False


@dataclass(slots=True)
class Result:
    """Sizes in bytes, times in seconds. `pause_s`: how long the container stood still."""

    checkpoint: str = ""
    namespace: str = ""
    pod: str = ""
    container: str = ""
    predicted_pause_s: float = 0.0
    pause_s: float = 0.0
    bytes: int = 0
    phases: dict[str, float] = field(default_factory=dict)
