"""The history's captures: the result of each, the agent's and those of `glowplug capture`."""

from collections.abc import Iterable

from glowplug.cli import screen
from glowplug.outcomes import record as fields
from glowplug.outcomes.record import Record


def of(records: Iterable[Record], namespace: str | None, pod: str | None) -> list[Record]:
    """Those of a namespace and a pod, or of all; the oldest first."""
    return [
        record
        for record in records
        if record.get("event") == "capture"
        and namespace in (None, fields.text(record, "namespace"))
        and pod in (None, fields.text(record, "pod"))
    ]


def show(found: list[Record]) -> None:
    """A line for each, and one below it with the reason where nothing was captured."""
    for record in found:
        screen.line("  ".join(cell for cell in _cells(record) if cell))
        detail = fields.text(record, "detail")
        if detail:
            screen.line(f"    {detail}")
        notes = record.get("notes")
        for note in notes if isinstance(notes, list) else ():
            screen.line(f"    not known: {note}")


def _cells(record: Record) -> tuple[str, ...]:
    pause_s = fields.number(record, "pause_s")
    return (
        screen.clock(fields.number(record, "time") or 0.0)[5:],
        "/".join(fields.text(record, name) for name in ("namespace", "pod", "container")),
        _result(record),
        f"by the {fields.text(record, 'by')}",
        "" if pause_s is None else f"paused {screen.seconds(pause_s)}",
        screen.short(fields.text(record, "checkpoint") or None),
        _trial(fields.text(record, "trial")),
    )


def said(record: Record) -> str:
    """`failed (not-restorable) at 12:00:01: why`."""
    at = screen.clock(fields.number(record, "time") or 0.0)
    detail = fields.text(record, "detail") or _trial(fields.text(record, "trial"))
    return f"{_result(record)} at {at}{f': {detail}' if detail else ''}"


def _result(record: Record) -> str:
    slug = fields.text(record, "slug")
    return fields.text(record, "result") + (f" ({slug})" if slug else "")


def _trial(said: str) -> str:
    return f"trial {said}" if said else ""
