"""What the demo measures adds up, and a second start that is not the first one's process is called so."""

import json
from dataclasses import replace

import pytest
from hack.demolib.figures import Figures, Start, cold_phases, in_a_row, restore_phases
from hypothesis import given
from hypothesis import strategies as st

COLD = Start(8.0, ["text"], "token", "cold:no-checkpoint", "no checkpoint")
RESTORE = Start(0.8, ["text"], "token", "restored", "")
FIGURES = Figures(COLD, RESTORE, 90_000_000)

SECONDS = st.floats(0, 100)
STEPS = st.dictionaries(st.sampled_from(["resolve", "check", "layer", "criu", "health"]), SECONDS)


def test_a_restore_that_is_the_first_process_passes() -> None:
    assert FIGURES.mismatch() == ""
    assert FIGURES.speedup == 10


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"outcome": "cold:no-agent", "detail": "the agent is away"}, "cold:no-agent: the agent is away"),
        ({"outcome": "fallback:criu"}, "fallback:criu"),
        ({"answer": ["other"]}, "same answer"),
        ({"token": "other"}, "token"),
    ],
)
def test_what_differs_is_said_in_one_line(change: dict[str, object], said: str) -> None:
    figures = replace(FIGURES, restore=replace(RESTORE, **change))  # type: ignore[arg-type]
    assert said in figures.mismatch()
    assert "\n" not in figures.mismatch()


def test_a_cold_second_start_is_not_hidden_by_equal_answers() -> None:
    cold_again = replace(FIGURES, restore=replace(COLD))
    assert cold_again.mismatch()


def test_the_file_has_the_promised_keys() -> None:
    restore = replace(RESTORE, phases=restore_phases(0.5, 0.8, 0.1, 0.35, {"resolve": 0.1, "criu": 0.2}))
    written = json.loads(json.dumps(replace(FIGURES, restore=restore).as_json()))
    assert {
        "cold_s": 8.0,
        "restore_s": 0.8,
        "speedup": 10.0,
        "outcome": "restored",
        "same_answer": True,
        "same_token": True,
        "checkpoint_bytes": 90_000_000,
    }.items() <= written.items()
    assert sum(written["phases"].values()) == pytest.approx(0.8)
    assert list(written["phases"]) == ["containerd", "resolve", "criu", "runtime", "start", "first answer"]


def test_a_cold_start_is_known_by_the_server_itself() -> None:
    phases = cold_phases(0.1, 7.4, 7.6, {"imports": 0.5, "models": 1.0, "warm-up": 5.5})
    lengths = {phase.name: phase.length_s for phase in phases}
    assert lengths == pytest.approx(
        {"create": 0.1, "python": 0.3, "imports": 0.5, "models": 1.0, "warm-up": 5.5, "first answer": 0.2}
    )


@given(lengths=STEPS, end_s=SECONDS)
def test_phases_follow_one_another_up_to_the_end(lengths: dict[str, float], end_s: float) -> None:
    """Clocks of several processes never agree wholly: no bar may leave the start that it belongs to."""
    phases = in_a_row(lengths, end_s, "last")
    reached = 0.0
    for phase in phases:
        assert phase.begin_s == pytest.approx(reached)
        assert phase.length_s >= 0
        reached += phase.length_s
    assert reached == pytest.approx(end_s)


@given(started_s=SECONDS, more_s=SECONDS, began_s=st.floats(-1, 100), runtime_s=SECONDS, steps=STEPS)
def test_a_restore_has_no_phase_before_its_beginning_or_after_its_end(
    started_s: float, more_s: float, began_s: float, runtime_s: float, steps: dict[str, float]
) -> None:
    answered_s = started_s + more_s
    phases = restore_phases(started_s, answered_s, began_s, runtime_s, steps)
    assert all(phase.begin_s >= 0 and phase.length_s >= 0 for phase in phases)
    assert sum(phase.length_s for phase in phases) == pytest.approx(answered_s)
