"""What is counted, by name. Prometheus' conventions: base units, `_total`, few label values.

A counter begins at zero with each agent, as Prometheus expects of a process; what happened while none ran is
counted by the next one, and nothing twice (ingest.py). No label holds a name that a user chose: no pod, no
namespace, no checkpoint.
"""

import re
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

from glowplug.agent.ingest import EARLY_EXIT_S
from glowplug.outcomes import capture_outcome, record
from glowplug.outcomes.record import Record
from glowplug.restore import stages

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
RATES = tuple(gigabytes * 1e9 for gigabytes in (0.25, 0.5, 1, 2, 4, 8, 12, 16, 24, 32, 64))
"""Bytes per second."""

PHASES = (
    *("resolve", *stages.NAMES, "memory"),
    *("cuda_attach", "cuda_hold", "cuda_restore", "cuda_unlock"),
)
STAGES = (*stages.NAMES, "memory", "deadline", "killed", "cleanup")
"""What a fallback names."""

WRITES = ("written", "failed", "dropped")
WAKINGS = ("done", "none", "failed")
"""The results of a write to Kubernetes."""

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
OTHER = "other"


class Metrics:
    """Thread-safe. `count` is a reporter: it gets every record."""

    def __init__(self, versions: Mapping[str, str]) -> None:
        """`versions`: by the name of what has it."""
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._reasons = Slugs(("", "no-checkpoint", "no-agent", "early-exit", *STAGES))
        self._phases = Slugs(PHASES)
        self._info = self._gauge("glowplug_agent_info", "Always 1; the versions in use.", sorted(versions))
        self._starts = self._counter("glowplug_starts_total", "Starts by outcome.", ("outcome", "reason"))
        self._start_seconds = self._histogram(
            "glowplug_start_seconds", "From the call of create to its outcome.", ("outcome",), SECONDS
        )
        self._phase_seconds = self._histogram(
            "glowplug_restore_phase_seconds", "Phases of restores, failed ones too.", ("phase",), SECONDS
        )
        self._memory_bytes = self._counter(
            "glowplug_restored_memory_bytes_total", "Memory written by restores besides CRIU's own images."
        )
        self._memory_rate = self._histogram(
            "glowplug_restore_memory_bytes_per_second", "Speed at which that memory was written.", (), RATES
        )
        self._early_exits = self._counter(
            "glowplug_early_exits_total", "Restored containers that ended by themselves within 10 seconds."
        )
        self._quarantines = self._counter(
            "glowplug_quarantines_total", "Checkpoints quarantined, by what they failed in.", ("stage",)
        )
        self._captures = self._counter("glowplug_captures_total", "Captures by result.", ("result",))
        self._wakings = self._counter(
            "glowplug_wakings_total",
            "Restored containers by the result of the hook after the restore.",
            ("result",),
        )
        self._captured_bytes = self._counter("glowplug_captured_bytes_total", "Size of the checkpoints made.")
        self._pause_seconds = self._histogram(
            "glowplug_capture_pause_seconds", "How long a captured container was paused.", (), SECONDS
        )
        self._kubernetes_writes = self._counter(
            "glowplug_kubernetes_writes_total", "Events, annotations, conditions and labels.", ("result",)
        )
        self._info.labels(**versions).set(1)
        self._begin_at_zero()

    def count(self, said: Record) -> None:
        """One record of the history."""
        event = record.text(said, "event")
        if event == "exit":
            self._count_exit(said)
        elif event == "capture":
            self._count_capture(said)
        elif event == "after-restore":
            result = record.text(said, "result")
            self._wakings.labels(result if result in WAKINGS else OTHER).inc()
        elif event == "quarantine":
            self._quarantines.labels(self._reasons.of(record.text(said, "stage"))).inc()
        elif record.text(said, "outcome"):
            self._count_start(said)

    def count_write(self, result: str) -> None:
        """A write to Kubernetes: written, failed or dropped."""
        self._kubernetes_writes.labels(result if result in WRITES else OTHER).inc()

    def _count_start(self, said: Record) -> None:
        kind, reason = record.kind(said)
        outcome = kind if kind in ("restored", "cold", "fallback") else OTHER
        self._starts.labels(outcome, self._reasons.of(reason)).inc()
        total_s = record.number(said, "total_s")
        if total_s is not None:
            self._start_seconds.labels(outcome).observe(total_s)
        for phase, seconds in record.phases(said).items():
            self._phase_seconds.labels(self._phases.of(phase)).observe(seconds)
        rate = record.memory_rate(said)
        if rate is not None:
            self._memory_rate.observe(rate)
            self._memory_bytes.inc(max(0.0, record.number(said, "memory_bytes") or 0.0))

    def _count_exit(self, said: Record) -> None:
        ran_s = record.number(said, "ran_s")
        if ran_s is not None and ran_s < EARLY_EXIT_S and said.get("stopped") is not True:
            self._early_exits.inc()

    def _count_capture(self, said: Record) -> None:
        result = record.text(said, "result")
        self._captures.labels(result if result in capture_outcome.RESULTS else OTHER).inc()
        pause_s, size = record.number(said, "pause_s"), record.number(said, "bytes")
        if pause_s is not None:
            self._pause_seconds.observe(pause_s)
        if size is not None and size > 0:
            self._captured_bytes.inc(size)

    def _begin_at_zero(self) -> None:
        """A series that is there before its first event: the first one is an increase, too."""
        self._starts.labels("restored", "")
        self._starts.labels("cold", "no-checkpoint")
        self._starts.labels("cold", "no-agent")
        for stage in STAGES:
            self._starts.labels("fallback", stage)
            self._quarantines.labels(stage)
        self._quarantines.labels("early-exit")
        for phase in PHASES:
            self._phase_seconds.labels(phase)
        for outcome in ("restored", "cold", "fallback"):
            self._start_seconds.labels(outcome)
        for result in capture_outcome.RESULTS:
            self._captures.labels(result)
        for result in WAKINGS:
            self._wakings.labels(result)
        for result in WRITES:
            self._kubernetes_writes.labels(result)

    def _counter(self, name: str, text: str, labels: Iterable[str] = ()) -> Counter:
        return Counter(name, text, tuple(labels), registry=self.registry)

    def _gauge(self, name: str, text: str, labels: Iterable[str] = ()) -> Gauge:
        return Gauge(name, text, tuple(labels), registry=self.registry)

    def _histogram(self, name: str, text: str, labels: Iterable[str], buckets: Iterable[float]) -> Histogram:
        return Histogram(name, text, tuple(labels), registry=self.registry, buckets=tuple(buckets))


class Slugs:
    """Values of one label: those known, and so many more; what is no slug, or one too many, is `other`."""

    MORE = 100

    def __init__(self, known: Iterable[str]) -> None:
        self._known = set(known)
        self._limit = len(self._known) + self.MORE

    def of(self, found: str) -> str:
        """The label's value for what was found."""
        if found in self._known:
            return found
        if len(self._known) >= self._limit or not _SLUG.fullmatch(found):
            return OTHER
        self._known.add(found)
        return found
