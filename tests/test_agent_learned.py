"""What is learned of a workload: captures that nobody could use end, failures rest a while, nothing rests forever."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.checkpoint_made import SALT, key_of, spec

from glowplug.agent import learned as learning
from glowplug.agent.learned import Learned
from glowplug.checkpoint import bundle
from glowplug.checkpoint import judgement as judgements
from glowplug.checkpoint.judgement import Judgement
from glowplug.errors import CaptureRefused


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def learned(tmp_path: Path, clock: Clock) -> Learned:
    return Learned(str(tmp_path), clock)


def judged(value: str = "") -> Judgement:
    found = spec()
    found["process"]["env"] = [f"NOISE={value}"]
    return judgements.make("c1", bundle.read(found), key_of(found), (), spec="", edited="", salt=SALT)


def restored(learned: Learned) -> None:
    learned.report({"outcome": "restored", "workload": judged().workload})


def fell_back(learned: Learned, stage: str = "volumes", workload: str | None = None) -> None:
    name = judged().workload if workload is None else workload
    learned.report({"outcome": f"fallback:{stage}", "workload": name, "detail": "not empty"})


def test_after_two_captures_without_a_restore_it_stops_and_names_what_differed(
    learned: Learned, clock: Clock
) -> None:
    for number in range(2):
        learned.require_capture(judged().workload)
        learned.captured(judged(str(number)))
    with pytest.raises(CaptureRefused, match=r"2 captures .* its pods differ in env\.NOISE; .* in 24 h"):
        learned.require_capture(judged().workload)
    clock.now += learning.UNUSED_REST_S
    learned.require_capture(judged().workload)


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ([{"volumes": {"/data": "1"}}, {"volumes": {"/data": "2"}}], r"volume_state\./data"),
        ([{"service_links": {"DB": "1"}}, {"service_links": {"DB": "2", "NEW": "1"}}], r"service_links\.DB;"),
        ([{"service_links": {"DB": "1"}}, {"service_links": {"NEW": "1"}}], "nothing that was noted"),
    ],
)
def test_conditions_are_reported_too(
    learned: Learned, conditions: list[dict[str, object]], words: str
) -> None:
    for one in conditions:
        found = judged()
        learned.captured(replace(found, key=replace(found.key, conditions=one)))
    with pytest.raises(CaptureRefused, match=f"its pods differ in {words}"):
        learned.require_capture(judged().workload)


def test_a_restore_makes_it_as_good_as_new(learned: Learned) -> None:
    for number in range(2):
        learned.captured(judged(str(number)))
        restored(learned)
    learned.require_capture(judged().workload)


def test_captures_that_fail_are_tried_again_after_a_while(learned: Learned, clock: Clock) -> None:
    learned.not_captured(judged(), "criu")
    learned.require_capture(judged().workload)
    learned.not_captured(judged(), "criu")
    with pytest.raises(CaptureRefused) as raised:
        learned.require_capture(judged().workload)
    assert raised.value.slug == "tried-before"
    clock.now += 61
    learned.require_capture(judged().workload)


def test_restores_that_fail_in_one_stage_rest_and_no_others_do(learned: Learned, clock: Clock) -> None:
    for _ in range(learning.FALLBACKS):
        assert learned.restore_objection(judged().workload) is None
        fell_back(learned)
    assert "3 in a row in stage volumes" in str(learned.restore_objection(judged().workload))
    assert learned.restore_objection("another") is None
    clock.now += learning.FALLBACK_REST_S
    assert learned.restore_objection(judged().workload) is None
    fell_back(learned)
    clock.now += learning.FALLBACK_REST_S
    assert learned.restore_objection(judged().workload) is not None  # twice as long


def test_a_node_on_which_nothing_can_be_restored_rests(learned: Learned) -> None:
    for number in range(learning.NODE_FALLBACKS):
        fell_back(learned, "gpu", f"workload {number}")
    assert "on this node" in str(learned.restore_objection("yet another"))
    restored(learned)
    assert learned.restore_objection("yet another") is None


def test_a_fault_of_the_checkpoint_is_its_quarantines(learned: Learned) -> None:
    for _ in range(10):
        fell_back(learned, "check")
    assert learned.restore_objection(judged().workload) is None


def test_one_that_can_not_be_woken_rests(learned: Learned) -> None:
    for _ in range(learning.WAKES):
        restored(learned)
        learned.report({"event": "after-restore", "result": "failed", "workload": judged().workload})
    assert "could not be woken" in str(learned.restore_objection(judged().workload))


def test_a_node_that_does_not_back_off_delays_nothing(tmp_path: Path, clock: Clock) -> None:
    learned = Learned(str(tmp_path), clock, back_off=False)
    for number in range(5):
        learned.captured(judged(str(number)))
        fell_back(learned)
    learned.require_capture(judged().workload)
    assert learned.restore_objection(judged().workload) is None


def test_it_outlives_the_agent_and_its_file_holds_no_name(
    tmp_path: Path, learned: Learned, clock: Clock
) -> None:
    for number in range(2):
        learned.captured(judged(str(number)))
    learned.save()
    assert "server" not in (tmp_path / "learned.json").read_text()
    with pytest.raises(CaptureRefused):
        Learned(str(tmp_path), clock).require_capture(judged().workload)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 1, "workloads": {"a": 7}}'])
def test_a_damaged_file_is_none(content: str, tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "learned.json").write_text(content)
    Learned(str(tmp_path), clock).require_capture("a")
