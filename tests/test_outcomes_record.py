"""Whatever is in a record, nobody who reads it fails: a record costs no other one."""

import json
import logging

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from glowplug.agent import logs
from glowplug.agent.kubernetes.cluster import Cluster
from glowplug.agent.metrics.counters import Metrics
from glowplug.cli import phases, timeline_html, timeline_text
from glowplug.outcomes import record, starts
from glowplug.outcomes.record import Record

FIELDS = (
    *("event", "outcome", "detail", "checkpoint", "namespace", "pod", "pod_uid", "container", "container_id"),
    *(
        "time",
        "total_s",
        "ran_s",
        "pause_s",
        "bytes",
        "memory_bytes",
        "phases",
        "stopped",
        "result",
        "stage",
        "by",
    ),
)
WORDS = (
    "restored",
    "cold:x",
    "fallback:criu",
    "capture",
    "exit",
    "quarantine",
    "captured",
    "web",
    "\x1b[1m<b>",
)

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS)
)
values = (
    scalars
    | st.lists(scalars, max_size=2)
    | st.dictionaries(st.sampled_from(("criu", "memory", "")), scalars)
)
records = st.lists(st.dictionaries(st.sampled_from(FIELDS), values), max_size=4)


@given(records)
def test_metrics_take_any_record(found: list[Record]) -> None:
    made = Metrics({"version": "0"})
    for one in found:
        made.count(one)
    generate_latest(made.registry)


@given(records)
def test_kubernetes_takes_any_record(found: list[Record]) -> None:
    made = Cluster("/none", "node-1", dict, lambda: found, lambda _: None)
    for one in found:
        made.report(one)


@given(records)
def test_the_log_has_one_line_for_any_record(found: list[Record]) -> None:
    for form in ("logfmt", "json"):
        for one in found:
            line = logs.Lines(form, in_journal=False)
            assert "\n" not in line.format(_logged(one))


@given(records)
def test_pictures_are_made_of_any_start(found: list[Record]) -> None:
    for start in starts.of(found):
        assert sum(phase.length_s for phase in phases.of(start)) >= 0
        assert timeline_text.about(start)
        assert "<b>" not in timeline_html.page(start)


@given(records)
def test_a_number_is_finite_or_none(found: list[Record]) -> None:
    for one in found:
        json.dumps([record.number(one, name) for name in FIELDS], allow_nan=False)
        json.dumps(record.phases(one), allow_nan=False)


def _logged(one: Record) -> logging.LogRecord:
    made = logging.LogRecord("glowplug", logging.INFO, "", 0, "start", None, None)
    made.__dict__.update(logs.fields(one))
    return made
