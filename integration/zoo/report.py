"""The table that a run of the zoo ends with; docs/zoo.md has one of all programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from integration.zoo.program import Program

HEAD = "| program | version | planted | cold | pause | checkpoint | restored, twice |"


@dataclass(frozen=True, slots=True)
class Row:
    """One program's. `cold_s`, `restored_s`: until it is healthy; `captured`: what `glowplug capture --json` said."""

    program: Program
    version: str
    cold_s: float
    captured: Mapping[str, Any]
    restored_s: Sequence[float]


def line(row: Row) -> str:
    """Its line of the table."""
    restored = ", ".join(f"{seconds:.2f} s" for seconds in row.restored_s)
    return (
        f"| {row.program.name} | {row.version} | {row.program.state} | {row.cold_s:.2f} s"
        f" | {row.captured['pause_s']:.2f} s | {row.captured['bytes'] / 1e6:.1f} MB | {restored} |"
    )


def table(lines: Sequence[str]) -> str:
    """As Markdown."""
    return "\n".join([HEAD, "|---|---|---|---|---|---|---|", *lines])
