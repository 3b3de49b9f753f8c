"""Whose turn it is to be captured, and when one that was refused for the moment is tried again."""

import time
from types import SimpleNamespace
from typing import Any

from glowplug.agent.loop import captures
from glowplug.agent.loop.loop import Loop
from glowplug.agent.loop.row import Next, Row, State


def row(name: str, state: State) -> Row:
    judgement = SimpleNamespace(namespace="models", key=SimpleNamespace(digest="d"))
    candidate = SimpleNamespace(facts=SimpleNamespace(sandbox_namespace="models"))
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
