"""The verdict: match, or every reason; never a match with a fact missing; one choice, whatever the order."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import checkpoint_made as made

from glowplug.checkpoint import explain, key, sharing, verdict
from glowplug.checkpoint.key import WorkloadKey
from glowplug.checkpoint.manifest import Measured
from glowplug.checkpoint.reason import Reason
from glowplug.checkpoint.verdict import (
    Candidate,
    Verdict,
    choose,
    is_visible,
    judge,
    miss_slug,
    worth_if_read,
)

MANIFEST = made.manifest_of()
WANTED = made.key_of()


def judged(**changes: Any) -> Verdict:
    arguments: dict[str, Any] = {
        "manifest": MANIFEST,
        "wanted": WANTED,
        "host": made.HOST,
        "resources": made.RESOURCES,
        "now": made.NOW,
    }
    return judge(**(arguments | changes))


def now(**changes: Any) -> verdict.Now:
    return dataclasses.replace(made.NOW, **changes)


def test_a_checkpoint_fits_where_it_was_captured() -> None:
    found = judged()
    assert found.matches
    assert (found.reasons, found.slug) == ((), "")
    assert found.prediction is not None


FACTS = (
    [("host", field.name) for field in dataclasses.fields(made.HOST)]
    + [("resources", field.name) for field in dataclasses.fields(made.RESOURCES)]
    + [("now", name) for name in ("quarantined", "complete", "free_memory", "free_disk")]
    + [("now", name) for name in ("restores_running", "unread_bytes")]
    + [("needs", field.name) for field in dataclasses.fields(MANIFEST.requirements)]
    + [("key", "chain_id"), ("key", "mount_identity")]
)


@given(st.sets(st.sampled_from(FACTS), min_size=1))
@settings(deadline=None, max_examples=300)
def test_no_verdict_passes_with_any_fact_missing(missing: set[tuple[str, str]]) -> None:
    def without(where: str) -> dict[str, Any]:
        return {name: None for place, name in missing if place == where}

    gone: dict[str, Any] = {"chain_id": "", "mount_identity": {}}
    found = judged(
        manifest=dataclasses.replace(
            MANIFEST, requirements=dataclasses.replace(MANIFEST.requirements, **without("needs"))
        ),
        wanted=made.key_of(**{name: gone[name] for name in without("key")}),
        host=dataclasses.replace(made.HOST, **without("host")),
        resources=dataclasses.replace(made.RESOURCES, **without("resources")),
        now=now(**without("now")),
    )
    assert not found.matches
    assert found.slug
    assert all(reason.part and reason.needs and reason.has and reason.slug for reason in found.reasons)


@pytest.mark.parametrize("fact", FACTS)
def test_each_missing_fact_is_a_reason(fact: tuple[str, str]) -> None:
    test_no_verdict_passes_with_any_fact_missing.hypothesis.inner_test({fact})  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "slug"),
    [
        ({"now": now(namespace="others")}, "namespace"),
        ({"now": now(namespace="")}, "namespace"),
        ({"now": now(quarantined=True)}, "quarantined"),
        ({"now": now(complete=False)}, "incomplete"),
        ({"now": now(free_memory=5 << 30, free_disk=0)}, "no-disk"),
        ({"now": now(free_memory=(5 << 30) - 1)}, "no-memory"),
        ({"now": now(restores_running=100)}, "restore-slower"),
        ({"host": dataclasses.replace(made.HOST, kernel="5.4.0")}, "kernel"),
        ({"resources": dataclasses.replace(made.RESOURCES, memory_limit=1 << 30)}, "memory-limit"),
        ({"wanted": made.key_of(chain_id="sha256:" + "0" * 64)}, "image"),
    ],
)
def test_each_reason_alone(change: dict[str, Any], slug: str) -> None:
    assert [reason.slug for reason in judged(**change).reasons] == [slug]


def test_all_reasons_are_reported_at_once() -> None:
    found = judged(
        wanted=made.key_of(chain_id="sha256:" + "0" * 64),
        host=dataclasses.replace(made.HOST, arch="aarch64"),
        now=now(quarantined=True),
    )
    assert [reason.slug for reason in found.reasons] == ["image", "cpu", "quarantined"]


def test_a_key_with_another_digest_never_fits_though_every_part_looks_alike() -> None:
    found = judged(wanted=dataclasses.replace(WANTED, digest="0" * 64))
    assert [reason.slug for reason in found.reasons] == ["workload-key"]


def test_a_part_on_one_side_only_never_fits() -> None:
    short = {name: part for name, part in WANTED.parts.items() if name != "rlimits"}
    found = judged(wanted=dataclasses.replace(WANTED, parts=short))
    assert [reason.slug for reason in found.reasons] == ["rlimits"]


def test_a_shared_checkpoint_serves_a_namespace_that_accepts_it() -> None:
    """Its owner's word alone would have any pod of the cluster run the owner's memory."""
    shared, accepts = made.manifest_of(shared=True), frozenset(("models",))
    there = judged(manifest=shared, now=now(namespace="others", accepts=accepts))
    assert there.matches
    assert not there.own
    assert [reason.slug for reason in judged(manifest=shared, now=now(namespace="others")).reasons] == [
        "namespace"
    ]
    assert not judged(now=now(namespace="others", accepts=accepts)).matches
    assert is_visible(shared, "others", accepts)
    assert not is_visible(shared, "others")
    assert not is_visible(MANIFEST, "others", accepts)
    assert is_visible(MANIFEST, "models")
    assert not is_visible(shared, "", accepts)


def test_both_sides_are_queried() -> None:
    pod = {"glowplug.dev/accept": "base, models *"}
    assert sharing.accepted(pod, "", "others") == {"base", "models"}
    assert sharing.accepted({}, "models:others,more base:*", "others") == {"base", "models"}
    assert sharing.accepted({}, "models:others,more base:*", "base") == frozenset()
    assert sharing.is_well_formed("")
    assert sharing.is_well_formed("models:others,more base:*")
    assert not sharing.is_well_formed("models base:*")
    assert not sharing.is_well_formed("*:others")


def conditions(**changes: object) -> WorkloadKey:
    return dataclasses.replace(WANTED, conditions={**WANTED.conditions, **changes})


@pytest.mark.parametrize(
    ("captured", "wanted", "slugs"),
    [
        ({}, {}, []),
        ({"account": "a"}, {"account": "a"}, []),
        ({"account": "a"}, {"account": "b"}, ["namespace"]),
        ({"account": "a"}, {"account": None}, ["namespace"]),
        ({"namespace": "a"}, {"namespace": "b"}, ["namespace"]),
        ({"namespace": None}, {"namespace": "b"}, []),
        ({"volumes": {"/data": "1"}}, {"volumes": {"/data": "1"}}, []),
        ({"volumes": {"/data": "1"}}, {"volumes": {"/data": "2"}}, ["volume-state"]),
        ({"volumes": {"/data": "1"}}, {"volumes": {"/data": None}}, ["volume-state"]),
        ({"volumes": {"/data": None}}, {"volumes": {"/data": None}}, ["volume-state"]),
        ({"volumes": {}}, {"volumes": {"/data": "1"}}, ["volume-state"]),
        ({"volumes": {"/data": "1"}}, {"volumes": {}}, ["volume-state"]),
    ],
)
def test_conditions_hold_one_by_one(
    captured: dict[str, object], wanted: dict[str, object], slugs: list[str]
) -> None:
    manifest = made.manifest_of(conditions(**captured))
    found = judged(manifest=manifest, wanted=conditions(**wanted))
    assert [reason.slug for reason in found.reasons] == slugs


def test_an_account_made_again_is_another_only_within_its_namespace() -> None:
    """Another namespace's account has another uid in any case: its name is in the key."""
    shared = made.manifest_of(conditions(account="a"), shared=True)
    there = now(namespace="others", accepts=frozenset(("models",)))
    assert judged(manifest=shared, wanted=conditions(account="b"), now=there).matches


def test_a_checkpoint_of_older_rules_is_one_reason() -> None:
    old = dataclasses.replace(WANTED, parts={**WANTED.parts, "rules": 2, "env": {}}, conditions={})
    manifest = made.manifest_of(dataclasses.replace(old, digest=key.digest(old.parts)))
    assert [reason.slug for reason in judged(manifest=manifest).reasons] == ["rules"]


def test_one_s_own_goes_first_then_the_same_limits_then_the_newest() -> None:
    def one(id: str, created: str, **what: bool) -> Candidate:
        return Candidate(id, created, Verdict((), None, **what))

    new, old = "2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z"
    listed = [
        one("another's", new, own=False),
        one("with other limits", new, exact=False),
        one("older", old),
        one("newer", "2026-01-02T00:00:00Z"),
    ]
    order = []
    while listed:
        chosen, _ = choose(listed)
        assert chosen is not None
        order.append(chosen.id)
        listed.remove(chosen)
    assert order == ["newer", "older", "with other limits", "another's"]


def test_a_raised_limit_fits_and_says_that_a_new_capture_would_fit_better() -> None:
    raised = dataclasses.replace(made.RESOURCES, memory_limit=64 << 30)
    found = judged(resources=raised)
    assert found.matches
    assert not found.exact
    assert judged().exact


def test_an_unmeasured_cold_start_does_not_block() -> None:
    assert judged(manifest=made.manifest_of(measured=Measured())).matches


CANDIDATES = st.lists(
    st.builds(
        Candidate,
        id=st.text("0123456789abcdef", min_size=4, max_size=4),
        created=st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-02-01T00:00:00Z"]),
        verdict=st.builds(
            Verdict,
            reasons=st.lists(
                st.sampled_from([Reason("a", "1", "2", "a"), Reason("b", "1", "2", "b")]), max_size=2
            ).map(tuple),
            prediction=st.none(),
        ),
    ),
    max_size=6,
    unique_by=lambda one: one.id,
)


@given(CANDIDATES, st.randoms())
@settings(deadline=None)
def test_the_choice_does_not_depend_on_the_order(candidates: list[Candidate], random: Any) -> None:
    mixed = list(candidates)
    random.shuffle(mixed)
    assert choose(mixed) == choose(candidates)
    assert miss_slug(mixed) == miss_slug(candidates)
    assert explain.candidate_rows(mixed) == explain.candidate_rows(candidates)


@given(CANDIDATES)
@settings(deadline=None)
def test_the_newest_that_fits_is_chosen_and_nothing_else(candidates: list[Candidate]) -> None:
    chosen, why = choose(candidates)
    fitting = [one for one in candidates if one.verdict.matches]
    assert (chosen is None) == (not fitting)
    assert why
    if chosen is not None:
        assert chosen in fitting
        assert chosen.created == max(one.created for one in fitting)
        assert chosen.id in why


def test_a_miss_is_known_by_the_nearest() -> None:
    one = Verdict((Reason("kernel", "6.1", "5.4", "kernel"),), None)
    two = Verdict((Reason("image", "a", "b", "image"), Reason("args", "a", "b", "args")), None)
    listed = [Candidate("aa", "2026-01-02", two), Candidate("bb", "2026-01-01", one)]
    assert miss_slug(listed) == "kernel"
    assert choose(listed)[1] == "none of 2 checkpoints fits; the nearest, bb: kernel: needs 6.1, has 5.4"
    assert miss_slug([]) == "no-checkpoint"


def test_rows_are_plain_data() -> None:
    rows = explain.candidate_rows([Candidate("aa", "2026-01-01", judged(now=now(complete=False)))])
    assert rows[0]["reasons"] == [
        {
            "part": "the checkpoint's files",
            "needs": "all there",
            "has": "missing or of another size",
            "slug": "incomplete",
        }
    ]
    assert ("GPU product", "NVIDIA H100") in explain.requirement_rows(MANIFEST.requirements)
    shown = dict(explain.key_rows(WANTED.parts))
    assert shown["env"].startswith("ADVERTISE, API_KEY, HOSTNAME")
    assert shown["args"] == "4 of them"


def test_what_only_the_disk_speaks_against_is_worth_reading_ahead() -> None:
    slow = now(unread_bytes=10**12)
    found = [
        Candidate("quarantined", "", judged(now=dataclasses.replace(slow, quarantined=True))),
        Candidate("busy", "", judged(now=now(restores_running=100))),
        Candidate("slow", "", judged(now=slow)),
    ]
    assert worth_if_read(found) == "slow"
    assert worth_if_read(found[:2]) is None
