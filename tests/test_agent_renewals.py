"""Of pods whose limits were raised, one at a time starts cold to be captured again."""

from glowplug.agent.serving import renewals
from glowplug.agent.serving.renewals import Renewals


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_one_at_a_time_and_the_same_answer_to_the_same_container() -> None:
    clock = Clock()
    turns = Renewals(clock)
    assert [turns.is_turn_of(one, ("models", "key", 8)) for one in ("a", "b", "a")] == [True, False, True]
    assert turns.is_turn_of("b", ("models", "key", 16))  # other limits, another capture
    clock.now += renewals.AGAIN_AFTER_S
    assert [turns.is_turn_of(one, ("models", "key", 8)) for one in ("b", "a")] == [True, False]


def test_no_more_than_so_many_are_remembered() -> None:
    turns = Renewals()
    for number in range(renewals.KEPT + 10):
        turns.is_turn_of("a", (number,))
    assert len(turns._turns) == renewals.KEPT
