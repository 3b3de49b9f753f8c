"""Fifty starts with somebody killed at a random moment: each serves, restored or cold, and nothing is left."""

import os
import time

import pytest

from integration.torture import UNDISTURBED, Torture

KILLS = 50


@pytest.mark.timeout(1200)
def test_fifty_kills_at_random_moments() -> None:
    if os.geteuid() != 0:
        pytest.skip("a private containerd needs root")
    with Torture(seed=50) as torture:
        report = torture.kills(KILLS, time.monotonic() + 1100, lambda one: None)
    assert report.bad == []
    assert len(report.tries) == KILLS + UNDISTURBED
    assert {"python", "sh", "runc", "criu"} <= {one.killed for one in report.tries}
