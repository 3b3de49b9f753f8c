"""Whether a restore is worth it: against the measured cold start and the deadline."""

from hypothesis import given, settings
from hypothesis import strategies as st

from glowplug.checkpoint.worth import FIXED_S, NodeRates, predict

GB = 10**9
FAST = NodeRates(read=GB, fill=10 * GB)


def test_a_restore_faster_than_the_cold_start_is_worth_it() -> None:
    found = predict(20 * GB, 5 * GB, 21.3, FAST, 0)
    assert found.restore_s == FIXED_S + 5 + 2
    assert found.is_worth_it
    assert found.reason is None


def test_a_restore_slower_than_the_cold_start_is_not() -> None:
    found = predict(20 * GB, 5 * GB, 7.0, FAST, 0)
    assert found.reason is not None
    assert found.reason.slug == "restore-slower"
    assert "cold start of 7.0 s" in found.reason.needs


def test_a_restore_past_the_deadline_is_not_however_slow_the_cold_start() -> None:
    found = predict(0, 70 * GB, 500.0, FAST, 0)
    assert found.reason is not None
    assert "deadline of 60 s" in found.reason.needs
    assert predict(0, 70 * GB, 500.0, FAST, 0, deadline_s=90).is_worth_it


def test_restores_that_run_share_the_node() -> None:
    assert predict(0, 5 * GB, 10.0, FAST, 0).is_worth_it
    assert not predict(0, 5 * GB, 10.0, FAST, 1).is_worth_it


def test_a_cold_start_that_was_never_measured_does_not_block() -> None:
    assert predict(GB, GB, None, NodeRates(), 0).is_worth_it


def test_a_large_checkpoint_is_tried_on_a_large_node_that_measured_nothing() -> None:
    """Or it never would be measured: 18 GB restore in seconds on 16 cores, where a cold start takes 21."""
    assert not predict(18 * GB, 0, 21.4, NodeRates(cores=1), 0).is_worth_it
    assert predict(18 * GB, 0, 21.4, NodeRates(cores=16), 0).is_worth_it
    assert predict(18 * GB, 0, 21.4, NodeRates(cores=64), 0).restore_s > 1


def test_rates_that_were_never_measured_still_meet_the_deadline() -> None:
    assert not predict(0, 100 * GB, None, NodeRates(), 0).is_worth_it
    assert not predict(0, 100 * GB, None, NodeRates(read=0.0), 0).is_worth_it


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.floats(0, 1e4), st.integers(0, 50))
@settings(deadline=None)
def test_more_bytes_or_more_restores_are_never_faster(
    memory: int, unread: int, cold: float, running: int
) -> None:
    found = predict(memory, unread, cold, FAST, running)
    assert predict(memory + GB, unread, cold, FAST, running).restore_s > found.restore_s
    assert predict(memory, unread, cold, FAST, running + 1).restore_s >= found.restore_s
    assert found.is_worth_it == (found.reason is None)
