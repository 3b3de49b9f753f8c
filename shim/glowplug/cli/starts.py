"""The history as starts: what became of each, and how long a restored container ran."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

Record = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Start:
    """One start. `time`: seconds since the epoch, when it was over; durations in seconds; "" and None: unknown.

    `ran_s`: from the restore to the container's end, for a restored container that ended.
    """

    time: float
    container_id: str
    namespace: str
    pod: str
    container: str
    outcome: str
    detail: str
    checkpoint: str | None
    total_s: float | None
    phases: Mapping[str, float]
    ran_s: float | None = None


def of(records: Iterable[Record]) -> list[Start]:
    """The starts in records (runtime/outcome.py), the oldest first.

    What a killed runtime left unsaid, the pod's names, is known from the container's other records.
    """
    found: list[Start] = []
    last: dict[str, int] = {}
    for record in records:
        container = _text(record, "container_id")
        if record.get("event") == "exit":
            at = last.get(container)
            if at is not None:
                found[at] = replace(found[at], ran_s=_number(record, "ran_s"))
        elif "outcome" in record:
            last[container] = len(found)
            found.append(_start(record, container))
    return _named(found)


def _named(starts: list[Start]) -> list[Start]:
    named = {start.container_id: start for start in starts if start.pod}
    return [
        replace(start, namespace=other.namespace, pod=other.pod, container=other.container)
        if not start.pod and (other := named.get(start.container_id))
        else start
        for start in starts
    ]


def _start(record: Record, container: str) -> Start:
    phases = record.get("phases")
    return Start(
        time=_number(record, "time") or 0.0,
        container_id=container,
        namespace=_text(record, "namespace"),
        pod=_text(record, "pod"),
        container=_text(record, "container"),
        outcome=_text(record, "outcome"),
        detail=_text(record, "detail"),
        checkpoint=_text(record, "checkpoint") or None,
        total_s=_number(record, "total_s"),
        phases={
            str(name): float(value)
            for name, value in (phases.items() if isinstance(phases, dict) else ())
            if isinstance(value, int | float)
        },
        ran_s=None,
    )


def _text(record: Record, name: str) -> str:
    value = record.get(name)
    return value if isinstance(value, str) else ""


def _number(record: Record, name: str) -> float | None:
    value = record.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
