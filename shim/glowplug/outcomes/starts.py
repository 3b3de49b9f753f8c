"""The history as starts: the outcome of each, and how long a restored container ran."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from glowplug.outcomes import capture_outcome
from glowplug.outcomes import record as fields
from glowplug.outcomes.record import Record


@dataclass(frozen=True, slots=True)
class Start:
    """One start. `time`: seconds since the epoch, when it was over; durations in seconds; "" and None: unknown.

    `memory_bytes`: large memory that was written besides CRIU's; `memory_rate`: bytes per second of that.
    `ran_s`: from the restore to the container's end, for a restored container that ended. `hook`: the result of the
    one after the restore, "done" or "failed: …". `compile_cache`: what its start found, and what was kept.
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
    memory_bytes: float | None = None
    memory_rate: float | None = None
    ran_s: float | None = None
    hook: str = ""
    compile_cache: str = ""


def of(records: Iterable[Record]) -> list[Start]:
    """The starts in records (outcomes/report.py), the oldest first.

    What a killed runtime left unsaid, the pod's names, is known from the container's other records.
    """
    found: list[Start] = []
    last: dict[str, int] = {}
    for record in records:
        container = fields.text(record, "container_id")
        at = last.get(container)
        if record.get("event") == "exit" and at is not None:
            found[at] = replace(found[at], ran_s=fields.number(record, "ran_s"))
        elif record.get("event") == "after-restore" and at is not None:
            found[at] = replace(found[at], hook=_hook(record))
        elif record.get("event") == "compile-cache" and at is not None:
            found[at] = replace(found[at], compile_cache=_joined(found[at].compile_cache, _kept(record)))
        elif "outcome" in record:
            last[container] = len(found)
            found.append(_start(record, container))
    return _with_names(found)


def _hook(record: Record) -> str:
    return ": ".join(filter(None, (fields.text(record, "result"), fields.text(record, "detail"))))


def _cache_used(record: Record) -> str:
    """What the outcome of a cold start says of the compile cache that it found."""
    used = record.get("compile_cache")
    return f"found {_amount(used)}" if isinstance(used, dict) else ""


def _kept(record: Record) -> str:
    kept = fields.text(record, "result") == capture_outcome.KEPT
    return f"kept {_amount(record)}" if kept else f"not kept: {fields.text(record, 'detail')}"


def _amount(said: Record) -> str:
    """Files, bytes and seconds, and the reason where that is not all."""
    files, size = fields.number(said, "files"), fields.number(said, "bytes")
    took_s, detail = fields.number(said, "seconds"), fields.text(said, "detail")
    amount = f"{files:.0f} files, {(size or 0) / 1e6:.1f} MB" if files else ""
    took = f" in {took_s:.2f} s" if took_s is not None and files else ""
    return f"{amount}{took}{': ' if detail else ''}{detail}"


def _joined(*said: str) -> str:
    return "; ".join(filter(None, said))


def _with_names(starts: list[Start]) -> list[Start]:
    known = {start.container_id: start for start in starts if start.pod}
    return [
        replace(start, namespace=other.namespace, pod=other.pod, container=other.container)
        if not start.pod and (other := known.get(start.container_id))
        else start
        for start in starts
    ]


def _start(record: Record, container: str) -> Start:
    return Start(
        time=fields.number(record, "time") or 0.0,
        container_id=container,
        namespace=fields.text(record, "namespace"),
        pod=fields.text(record, "pod"),
        container=fields.text(record, "container"),
        outcome=fields.text(record, "outcome"),
        detail=fields.text(record, "detail"),
        checkpoint=fields.text(record, "checkpoint") or None,
        total_s=fields.number(record, "total_s"),
        phases=fields.phases(record),
        memory_bytes=fields.number(record, "memory_bytes") or None,
        memory_rate=fields.memory_rate(record),
        compile_cache=_cache_used(record),
    )
