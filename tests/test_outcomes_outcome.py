"""The outcome of a start: what its record says, and what is read back of one that was noted."""

import pytest

from glowplug.outcomes import outcome
from glowplug.outcomes.outcome import CompileCacheUse, Outcome


def complete() -> Outcome:
    made = Outcome("fallback:memory", "short")
    made.left_behind, made.checkpoint = "a mount", "abc"
    made.unread_bytes, made.memory_bytes, made.total_s = 0, 0, 1.25
    made.phases = {"resolve": 0.01}
    return made


def test_a_record_has_the_fields_that_there_are() -> None:
    assert Outcome("cold:no-checkpoint").to_json() == {"outcome": "cold:no-checkpoint"}
    assert complete().to_json() == {
        "outcome": "fallback:memory",
        "detail": "short",
        "left_behind": "a mount",
        "checkpoint": "abc",
        "unread_bytes": 0,
        "memory_bytes": 0,
        "total_s": 1.25,
        "phases": {"resolve": 0.01},
    }


def test_a_compile_cache_is_in_the_record_of_a_cold_start() -> None:
    made = Outcome("cold:no-checkpoint")
    made.compile_cache = CompileCacheUse(2, 300, 0.5)
    assert made.to_json()["compile_cache"] == {"files": 2, "bytes": 300, "seconds": 0.5}
    made.compile_cache.detail = "No space left on device"
    record = made.to_json()["compile_cache"]
    assert record == {"files": 2, "bytes": 300, "seconds": 0.5, "detail": "No space left on device"}


def test_what_was_noted_is_read_back() -> None:
    found = outcome.from_json(complete().to_json())
    assert found is not None
    assert found.to_json() == complete().to_json()


@pytest.mark.parametrize("slug", [None, 7, ["cold:x"]])
def test_a_note_without_an_outcome_is_none(slug: object) -> None:
    assert outcome.from_json({"outcome": slug, "detail": "short"}) is None


def test_damaged_fields_are_as_if_they_were_not_there() -> None:
    damaged = {
        "outcome": "fallback:memory",
        "detail": 7,
        "checkpoint": None,
        "phases": [1],
        "memory_bytes": "many",
    }
    found = outcome.from_json(damaged)
    assert found is not None
    assert found.to_json() == {"outcome": "fallback:memory"}
