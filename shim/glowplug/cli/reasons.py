"""The table of `explain`: per checkpoint a row for each reason, so that all of them can be read."""

from collections.abc import Iterable, Sequence

from glowplug.checkpoint.reason import Reason
from glowplug.cli import screen

COLUMNS = ("checkpoint", "part", "needs", "has")
SHOWN = 8
"""Reasons per checkpoint; one of another workload differs in dozens, and the first few say so."""


def show(found: Iterable[tuple[str, Sequence[Reason], str]], *, everything: bool) -> None:
    """Per checkpoint: its id, the reasons against it, and what to say where there is none."""
    rows = [row for one in found for row in _rows(*one, everything=everything)]
    if rows:
        screen.table(COLUMNS, rows, fold=COLUMNS[1:])


def _rows(
    checkpoint: str, reasons: Sequence[Reason], without: str, *, everything: bool
) -> list[tuple[str, str, str, str]]:
    if not reasons:
        return [(screen.short(checkpoint), without, "", "")]
    reported = reasons if everything or len(reasons) <= SHOWN + 1 else reasons[:SHOWN]
    ids = [screen.short(checkpoint), *[""] * len(reported)]
    rows = [(id, one.part, one.needs, one.has) for id, one in zip(ids, reported, strict=False)]
    if len(reported) < len(reasons):
        rows.append(("", f"{len(reasons) - len(reported)} more: --all", "", ""))
    return rows
