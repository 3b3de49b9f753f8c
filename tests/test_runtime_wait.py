"""A start whose checkpoint is on its way asks again, and not forever."""

import pytest

from glowplug.outcomes import ask


def test_it_asks_until_the_answer_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([{"verdict": "wait"}, {"verdict": "wait"}, {"verdict": "match"}, {"verdict": "miss"}])
    monkeypatch.setattr(ask, "ask", lambda question, **_: next(answers))
    monkeypatch.setattr(ask, "AGAIN_S", 0.0)
    assert ask.plan({}, lambda: None).verdict == "match"


def test_it_does_not_wait_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "ask", lambda question, **_: {"verdict": "wait", "slug": "no-checkpoint"})
    monkeypatch.setattr(ask, "AGAIN_S", 0.0)
    monkeypatch.setattr(ask, "LONGEST_WAIT_S", 0.01)
    assert ask.plan({}, lambda: None).slug == "no-checkpoint"
