"""Whose turn it is to be captured, and when one that was refused for the moment is tried again."""

import time
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from glowplug.agent.captures import journal
from glowplug.agent.loop import captures
from glowplug.agent.loop.loop import LOOKS_WITHIN_S, Loop
from glowplug.agent.loop.row import Next, Row, State
from glowplug.config import Config


def row(name: str, state: State, namespace: str = "models", digest: str = "d") -> Row:
    judgement = SimpleNamespace(namespace=namespace, key=SimpleNamespace(digest=digest))
    candidate = SimpleNamespace(facts=SimpleNamespace(sandbox_namespace=namespace))
    case: Any = SimpleNamespace(judgement=judgement, candidate=candidate)
    return Row(name, state=state, due=float("inf"), case=case)


def test_one_that_is_refused_for_the_moment_rests_and_the_next_of_its_workload_has_its_turn() -> None:
    parts: Any = SimpleNamespace()
    loop = Loop(parts, lambda: None)
    refused, other = row("a", State.CAPTURING), row("b", State.READY)
    loop._rows = {"a": refused, "b": other}
    loop._done(refused, captures.capture, Next(State.READY, 60.0))
    assert refused.due > time.monotonic() + 50
    assert other.due == 0.0


class Capturing(NamedTuple):
    """Another container, of a workload of its own, at a step of its capture that it has been at for so long."""

    step: str
    for_s: float = 0.0
    namespace: str = "others"

    def row(self, name: str) -> Row:
        found = row(name, State.CAPTURING, self.namespace, name)
        found.seen = time.monotonic() - self.for_s if self.for_s else float("inf")
        return found


LONG_S = LOOKS_WITHIN_S + 1


@pytest.mark.parametrize(
    ("others", "slots", "is_its_turn"),
    [
        pytest.param([], 1, True, id="alone"),
        pytest.param([Capturing("dump")], 1, False, id="one-pauses"),
        pytest.param([Capturing("dump")], 2, True, id="of-two-slots"),
        pytest.param([Capturing("before-capture")], 1, True, id="one-in-a-hook"),
        pytest.param([Capturing("find")], 1, False, id="one-looks"),
        pytest.param([Capturing("find", LONG_S)], 1, True, id="one-looks-for-long"),
        pytest.param([Capturing("dump", LONG_S)], 1, False, id="one-pauses-for-long"),
        pytest.param([Capturing("canary", namespace="models")], 1, True, id="one-of-the-namespace"),
        pytest.param([Capturing("canary", namespace="models")] * 2, 1, False, id="two-of-the-namespace"),
        pytest.param([Capturing("after-capture")] * 7, 1, True, id="seven-in-hooks"),
        pytest.param([Capturing("after-capture")] * 8, 1, False, id="eight-in-hooks"),
    ],
)
def test_whose_turn_it_is(
    monkeypatch: pytest.MonkeyPatch, others: list[Capturing], slots: int, is_its_turn: bool
) -> None:
    """Those that wait for their own workload take no slot; no namespace and no number of them takes all processes."""
    steps = {str(number): one.step for number, one in enumerate(others)}
    monkeypatch.setattr(journal, "step_of", steps.__getitem__)
    loop, ready = waiting(slots)
    loop._rows |= {str(number): one.row(str(number)) for number, one in enumerate(others)}
    assert loop._is_its_turn(ready) is is_its_turn


def test_one_of_a_workload_is_captured_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "step_of", lambda _: "before-capture")
    loop, ready = waiting(slots=4)
    loop._rows["b"] = row("b", State.CAPTURING)
    assert not loop._is_its_turn(ready)


def waiting(slots: int) -> tuple[Loop, Row]:
    """A loop with one container, which is ready."""
    parts: Any = SimpleNamespace(config=Config(max_concurrent_captures=slots))
    loop, ready = Loop(parts, lambda: None), row("a", State.READY)
    loop._rows = {"a": ready}
    return loop, ready
