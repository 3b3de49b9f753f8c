"""A record of the history, read with care: what a field is, or that there is none.

Records come from the runtime (outcomes/report.py) and from captures (outcomes/capture_outcome.py); one that is not
complete, of another version or damaged, must not cost its reader more than that field.

A record with "outcome" is a start; one with "event" is what its name says: `exit` of a restored container,
`capture`, `quarantine`.
"""

import math
from collections.abc import Mapping

Record = Mapping[str, object]


def text(record: Record, name: str) -> str:
    """A text; "" where there is none."""
    value = record.get(name)
    return value if isinstance(value, str) else ""


def number(record: Record, name: str) -> float | None:
    """A finite number; None where there is none."""
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def kind(record: Record) -> tuple[str, str]:
    """Of a start: restored, cold or fallback, and its reason or stage ("" for a restore)."""
    outcome, _, reason = text(record, "outcome").partition(":")
    return outcome, reason


def phases(record: Record) -> dict[str, float]:
    """Seconds by phase, in the order of the record."""
    found = record.get("phases")
    if not isinstance(found, dict):
        return {}
    seconds = {str(name): number(found, name) for name in found}
    return {name: value for name, value in seconds.items() if value is not None and value >= 0}


def memory_rate(record: Record) -> float | None:
    """Bytes per second at which memory that is not in CRIU's images was written; None where there was none."""
    written, took_s = number(record, "memory_bytes"), phases(record).get("memory")
    return written / took_s if written and took_s else None
