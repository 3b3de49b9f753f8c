"""The predicted pause: a fixed part, and the rest by what captures on this node took."""

import os
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from tests.checkpoint_made import manifest_of

from glowplug.capture import pace
from glowplug.capture.request import Request
from glowplug.checkpoint import manifest as manifests
from glowplug.errors import CaptureRefused


def store(*captures: tuple[int, float, str]) -> Any:
    """One that holds captures of so many bytes, seconds and nodes, the oldest first."""
    base = manifest_of()
    made = {
        str(number): manifests.dumps(
            replace(
                base,
                node=node,
                sizes=replace(base.sizes, cpu_memory=size, gpu_memory=0),
                measured=replace(base.measured, pause_s=pause_s),
            )
        )
        for number, (size, pause_s, node) in enumerate(captures)
    }
    entries = [SimpleNamespace(id=name, created=float(name)) for name in made]
    return SimpleNamespace(index=SimpleNamespace(all=lambda: entries), manifest=made.__getitem__)


GB = 10**9
HERE = os.uname().nodename


def test_without_a_capture_there_is_a_guess() -> None:
    assert pace.predicted_s(store(), 500_000_000) == 1.4
    assert pace.predicted_s(store((1000, 0.3, HERE), (1 << 30, 9.0, "elsewhere")), 500_000_000) == 1.4


def test_the_slowest_of_the_latest_is_believed() -> None:
    captures = [(1 << 30, 60.0, HERE), *[(1 << 30, 1.0, HERE)] * 7, (1 << 30, 4.0, HERE)]
    assert pace.predicted_s(store(*captures), 1 << 30) == 4.4


@pytest.mark.parametrize(
    ("fields", "bytes", "pause_s", "slug"),
    [
        ({"max_pause_s": 1.0}, GB, 1.1, "pause-too-long"),
        ({"max_pause_s": 1.0}, GB, 0.9, None),
        ({"cold_start_s": 0.2}, 0, 0.5, "restore-slower"),  # a restore has a part that is fixed
        ({"cold_start_s": 5.0}, 10_000 * GB, 0.5, "restore-slower"),
        ({"cold_start_s": 5.0}, GB, 0.5, None),
        ({}, 10 * GB, 900.0, None),
    ],
)
def test_a_capture_that_is_not_worth_it_is_refused(
    fields: dict[str, Any], bytes: int, pause_s: float, slug: str | None
) -> None:
    request = Request("namespace", "pod", **fields)
    if slug is None:
        pace.require_worth(request, bytes, pause_s)
        return
    with pytest.raises(CaptureRefused) as refused:
        pace.require_worth(request, bytes, pause_s)
    assert refused.value.slug == slug
