"""Who is not captured: a container that serves since long, and one that has its checkpoint already."""

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests import checkpoint_made as made

from glowplug.agent.captures import existing
from glowplug.agent.captures.candidate import Candidate
from glowplug.agent.captures.running import Running
from glowplug.agent.loop import captures
from glowplug.agent.loop.parts import Parts
from glowplug.agent.loop.row import Case, Row, State
from glowplug.cache.store import Store
from glowplug.capture import policy
from glowplug.checkpoint import bundle, verdict
from glowplug.checkpoint import judgement as judgements
from glowplug.checkpoint.reason import Reason
from glowplug.checkpoint.verdict import Verdict
from glowplug.config import Config
from glowplug.containerd.records import ContainerRecord
from glowplug.errors import CaptureRefused, GlowplugError
from glowplug.explain.judge import Judge

RECORD = ContainerRecord("c1", "", "", None, {}, 0.0, None, spec={}, spec_text=b"")
FACTS = bundle.read(made.spec())
JUDGED = judgements.make("c1", FACTS, made.key_of(), (), spec="", edited="", salt=made.SALT)


def case(when: policy.When) -> Case:
    wanted = replace(policy.of(FACTS, "ready"), when=when)
    candidate = cast(Candidate, SimpleNamespace(id="c1", facts=FACTS, record=RECORD, started=0.0))
    return Case(candidate, wanted, cast(Running, None), JUDGED, until=time.monotonic() + 60)


def decided(
    monkeypatch: pytest.MonkeyPatch, ran_s: float, when: policy.When = "ready"
) -> tuple[State, list[str]]:
    """The state after one question that it answers with yes, and why it is refused."""
    refused: list[str] = []

    def refuse(_: Candidate, error: GlowplugError) -> None:
        refused.append(str(getattr(error, "slug", error)))

    for name, answer in (("has_ended", False), ("_has_checkpoint", False), ("is_ready", True)):
        monkeypatch.setattr(captures, name, lambda *_, answer=answer: answer)
    said = {
        "config": Config(),
        "ran_before_us": lambda _: ran_s,
        "refused": refuse,
        "end_if_wanted": lambda *_, **__: None,
    }
    row = Row("c1", case=case(when))
    return captures.ask(cast(Parts, SimpleNamespace(**said)), row).state, refused


def test_one_that_was_ready_long_before_the_agent_came_is_not_captured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What others sent it since would be in the image that every later pod gets."""
    age_s = Config().capture_max_age_s
    assert decided(monkeypatch, age_s - 1) == (State.READY, [])
    assert decided(monkeypatch, age_s + 1) == (State.FINISHED, ["old"])
    assert decided(monkeypatch, age_s + 1, "any-time") == (State.READY, [])


def existing_checkpoint(monkeypatch: pytest.MonkeyPatch, *verdicts: Verdict) -> str | None:
    candidates = [verdict.Candidate(f"k{n}", "2026", one) for n, one in enumerate(verdicts)]
    judge: Any = SimpleNamespace(accepts=lambda _: frozenset(), candidates=lambda *_: candidates)
    store: Any = SimpleNamespace(index=SimpleNamespace(find=lambda *_: candidates))
    return existing.why(cast(Store, store), cast(Judge, judge), case("ready").candidate, JUDGED)


def test_a_checkpoint_with_lower_limits_does_not_keep_one_with_its_own_from_being_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else who raises a limit waits forever: the old one fits, and is restored."""
    fits = Verdict((), None)
    assert existing_checkpoint(monkeypatch, fits) == "checkpoint k0 is of the same workload"
    assert existing_checkpoint(monkeypatch, replace(fits, exact=False)) is None
    assert (
        existing_checkpoint(monkeypatch, replace(fits, exact=False), fits)
        == "checkpoint k1 is of the same workload"
    )


def test_only_reasons_of_the_moment_leave_it_the_one_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def against(slug: str) -> Verdict:
        return Verdict((Reason("x", "a", "b", slug),), None)

    assert existing_checkpoint(monkeypatch, against("no-memory"))
    assert existing_checkpoint(monkeypatch, against("volume-state")) is None
    assert existing_checkpoint(monkeypatch, against("quarantined")) is None
    with pytest.raises(CaptureRefused, match="2 checkpoints of this workload"):
        existing_checkpoint(monkeypatch, against("quarantined"), against("quarantined"))
