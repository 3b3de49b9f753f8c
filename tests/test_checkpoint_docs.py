"""docs/matching.md names every rule that the tables have."""

import os
import re

import pytest

from glowplug.checkpoint import eligible, key, mounts, requirements, verdict

DOCS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "docs", "matching.md")
SOURCES = os.path.join(os.path.dirname(os.path.dirname(__file__)), "shim", "glowplug")
HOST_RULES = requirements.RULES + requirements.GPU_RULES
NAMES = {
    *(slug for slug, _, _ in eligible.RULES),
    *(slug for slug, _, _ in eligible.RECORD_RULES),
    *key.PARTS,
    *(slug for _, _, _, slug in HOST_RULES),
    *(
        "namespace",
        "service-links",
        "volume-state",
        "quarantined",
        "incomplete",
        "no-memory",
        "no-disk",
        "unknown-fact",
        "restore-slower",
        "no-checkpoint",
    ),
}


def text() -> str:
    with open(DOCS) as file:
        return file.read()


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_slug_and_part_is_explained(name: str) -> None:
    assert f"`{name}`" in text() or f"cold:{name}`" in text()


@pytest.mark.parametrize("kind", [mounts.CARRIED, mounts.IDENTITY, mounts.NOISE, mounts.UNKNOWN])
def test_every_kind_of_mount_is_explained(kind: str) -> None:
    assert f"| {kind} |" in text()


def test_every_volume_that_has_a_rule_is_reported() -> None:
    plugins = {"configmap", "secret", "projected", "downward-api", "csi", "nfs", "empty-dir"}
    assert all(plugin in text() for plugin in plugins)
    assert all(any(plugin in shape for _, _, shape, _ in mounts.SHAPES) for plugin in plugins)


def test_figures_are_those_in_use() -> None:
    from glowplug.checkpoint import content, worth

    found = " ".join(text().split())
    assert f"The prediction is {worth.FIXED_S} s" in found
    assert f"{worth.UNMEASURED_READ / 1e6:.0f} MB/s read" in found
    assert f"{worth.UNMEASURED_FILL / 1e6:.0f} MB/s fill for each core ({worth.FILLING} at most)" in found
    assert f"deadline of {worth.DEADLINE_S:.0f} s" in found
    assert f"{content.LIMIT >> 20} MiB" in found


def test_no_slug_is_explained_that_no_rule_has() -> None:
    slugs = re.findall(r"^\| `([a-z-]+)`", text(), re.MULTILINE)
    assert set(slugs) - NAMES == set()


def test_every_other_reason_for_a_cold_start_is_explained() -> None:
    """Those that are no rule of a table, as runtime and agent spell them."""
    said = {"newer-manifest", "agent-bad-response"}
    for path in ("runtime/create.py", "outcomes/ask.py", "agent/serving/resolve.py"):
        with open(f"{SOURCES}/{path}") as file:
            said |= set(re.findall(r'(?:NoAnswer\(\s*"|_miss\(\s*"|"cold:)([a-z-]+)"', file.read()))
    assert {"no-agent", "agent-error", "internal-error", "container-restart", "observed"} <= said
    assert [slug for slug in sorted(said - NAMES) if f"`cold:{slug}`" not in text()] == []


def test_the_verdict_s_own_slugs_are_listed() -> None:
    assert {slug for _, _, _, slug in verdict._STATE} <= NAMES
