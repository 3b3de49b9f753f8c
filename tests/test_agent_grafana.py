"""The dashboard and the alerts ask for metrics that there are, by labels that they have."""

import json
import os
import re
from collections.abc import Iterator

import pytest
import yaml
from tests.test_agent_metrics import VERSIONS

from glowplug.agent.metrics.counters import Metrics
from glowplug.agent.metrics.node import NodeCollector
from glowplug.cache.store import Store

DIRECTORY = f"{os.path.dirname(os.path.abspath(__file__))}/../runtime_config/grafana"
PROMETHEUS_OWN = {"up"}
LABELS = {"outcome", "reason", "phase", "result", "stage", "le", "instance", "job"}


def dashboard() -> dict[str, object]:
    with open(f"{DIRECTORY}/glowplug.json") as file:
        found: dict[str, object] = json.load(file)
    return found


def expressions() -> Iterator[str]:
    """Of every panel, variable and alert."""

    def within(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            for name, inner in value.items():
                if name in ("expr", "query") and isinstance(inner, str) and inner != "prometheus":
                    yield inner
                else:
                    yield from within(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from within(inner)

    yield from within(dashboard())
    with open(f"{DIRECTORY}/alerts.yaml") as file:
        yield from within(yaml.safe_load(file))


def served(directory: str) -> set[str]:
    """Every name that a scrape may contain."""
    metrics = Metrics(VERSIONS)
    metrics.registry.register(NodeCollector(Store(directory), lambda: 0.0))
    names = set()
    for family in metrics.registry.collect():
        ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        names |= {f"{family.name}{end}" for end in ends}
    return names


def queried() -> set[str]:
    return {
        name
        for text in expressions()
        for name in re.findall(r"\b(?:glowplug|process)_[a-z_]+\b|\bup\b", text)
    }


def test_every_metric_that_is_requested_is_served(tmp_path: object) -> None:
    assert queried() - PROMETHEUS_OWN - served(str(tmp_path)) == set()
    assert len(queried()) > 20


def ours(directory: str) -> set[str]:
    """The metrics that are not Prometheus' own, without a histogram's endings."""
    names = (name for name in served(directory) if name.startswith("glowplug_"))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def test_every_metric_is_documented(tmp_path: object) -> None:
    with open(os.path.join(os.path.dirname(__file__), "..", "docs", "observability.md")) as file:
        documented = set(re.findall(r"`(glowplug_\w+)(?:\{[a-z,]*\})?`", file.read()))
    assert ours(str(tmp_path)) - documented == set()


def test_every_metric_that_is_served_is_shown(tmp_path: object) -> None:
    """But what Prometheus has of every process, and what only others' tools add up."""
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in queried()}
    assert ours(str(tmp_path)) - shown == {"glowplug_cache_min_free_bytes", "glowplug_captured_bytes_total"}


@pytest.mark.parametrize("text", sorted(set(expressions())))
def test_an_expression_is_complete(text: str) -> None:
    for left, right in ("()", "[]", "{}"):
        assert text.count(left) == text.count(right)
    assert set(re.findall(r"([a-z_]+)(?:=~|!=|=)\"", text)) <= LABELS
    for listed in re.findall(r"\bby \(([^)]*)\)", text):
        assert {name.strip() for name in listed.split(",")} <= LABELS


def test_panels_do_not_overlap_and_have_what_to_show() -> None:
    panels = dashboard()["panels"]
    assert isinstance(panels, list)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["targets"]
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_alert_says_what_to_look_at() -> None:
    with open(f"{DIRECTORY}/alerts.yaml") as file:
        rules = yaml.safe_load(file)["groups"][0]["rules"]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["annotations"]["summary"] and rule["annotations"]["description"]
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
