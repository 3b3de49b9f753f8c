"""Stretches of time as bars of text: `glowplug timeline` draws them, and the demo."""

from dataclasses import dataclass

EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of a start, in seconds from its beginning."""

    name: str
    begin_s: float
    length_s: float


def bar(phase: Phase, total_s: float, columns: int, ascii_only: bool = False) -> str:
    """A phase's place in a line of so many columns: never longer than the line, never invisible."""
    per_second = columns / total_s
    before = min(int(phase.begin_s * per_second), columns - 1)
    width = (columns - before) * 8
    eighths = min(width, max(1, round(phase.length_s * per_second * 8)))
    if ascii_only:
        return " " * before + "#" * max(1, round(eighths / 8))
    return " " * before + "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()
