"""The capture that `explain` names is the last one, also where an earlier one knew more."""

from glowplug.cli import explain_pod


def test_a_capture_that_failed_early_counts_although_it_has_no_containers_name() -> None:
    captured = {"result": "captured", "container": "main", "time": 1.0}
    failed = {"result": "failed", "container": "", "time": 2.0}
    assert explain_pod._last_of([captured, failed], "main") == failed
    assert explain_pod._last_of([failed, captured], "main") == captured


def test_another_containers_capture_does_not_count() -> None:
    assert explain_pod._last_of([{"result": "captured", "container": "other"}], "main") is None
