"""Fifty starts with somebody killed at a random moment: each serves, restored or cold, and nothing is left."""

import os
import time

import pytest

from integration.torture import UNDISTURBED, Torture

KILLS = 50
EACH = {"python", "sh", "runc", "criu"}


@pytest.mark.timeout(1800)
def test_fifty_kills_at_random_moments() -> None:
    if os.geteuid() != 0:
        pytest.skip("a private containerd needs root")
    with Torture(seed=50) as torture:
        report = torture.kills(KILLS, time.monotonic() + 1700, lambda one: None, each_of=EACH)
    assert report.bad == []
    assert len(report.tries) >= KILLS + UNDISTURBED
    assert {one.killed for one in report.tries} >= EACH
