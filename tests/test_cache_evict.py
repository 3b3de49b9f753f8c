"""Who goes: decided over values. Whatever the numbers, pins and leases stay and the limits are met or nothing goes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glowplug.cache.evict import Item, Limits, Space, make_space, plan
from glowplug.errors import CacheError

PLENTY = Space(free=1 << 50)


def item(name: str, size: int = 10, used: float = 0.0, **more: object) -> Item:
    return Item(name, size, 0.0, used, None, **more)  # type: ignore[arg-type]  # the fields that a test names


def test_the_oldest_use_goes_first_and_no_more_than_needed() -> None:
    checkpoints = [item("a", used=3), item("b", used=1), item("c", used=2)]
    evictions = make_space(checkpoints, Limits(max_bytes=35), PLENTY, size=15, to_write=15)
    assert evictions == [("b", "size limit, least recently used", 10)]


def test_a_namespace_with_many_pushes_out_none_of_who_has_few() -> None:
    """However long ago the others' were used, and however often its own are captured again."""
    mine = Item("mine", 30, 0.0, 1.0, ("mine", "key"))
    greedy = [Item(f"greedy-{n}", 20, 0.0, 100.0 + n, ("greedy", f"key-{n}")) for n in range(3)]
    gone = make_space([mine, *greedy], Limits(max_bytes=100), PLENTY, size=25, to_write=25)
    assert [name for name, _, _ in gone] == ["greedy-0"]


def test_where_nobody_has_more_than_his_share_the_oldest_use_goes() -> None:
    both = [Item("a", 10, 0.0, 2.0, ("a", "key")), Item("b", 10, 0.0, 1.0, ("b", "key"))]
    assert [name for name, _, _ in make_space(both, Limits(max_bytes=25), PLENTY, 10, 10)] == ["b"]


def test_what_waits_for_a_person_goes_before_what_is_used() -> None:
    checkpoints = [item("a", used=1), item("b", used=9, dead=True)]
    assert [name for name, _, _ in make_space(checkpoints, Limits(max_bytes=20), PLENTY, 5, 5)] == ["b"]


def test_the_floor_counts_what_is_promised_but_not_yet_written() -> None:
    space = Space(free=100, promised=60)
    assert make_space([item("a")], Limits(min_free=10), space, 30, 30) == []
    assert make_space([item("a")], Limits(min_free=10), space, 31, 31) != []
    with pytest.raises(
        CacheError, match="100 bytes free on the file system, 60 of them promised, 10 to stay"
    ):
        make_space([item("a")], Limits(min_free=10), space, 41, 41)


def test_what_is_already_written_needs_no_free_space_again() -> None:
    assert make_space([], Limits(min_free=10), Space(free=10), size=1000, to_write=0) == []


def test_the_newest_of_a_workload_stay() -> None:
    checkpoints = [Item(str(number), 1, number, 0.0, ("ns", "key")) for number in range(3)]
    assert [name for name, _, _ in plan(checkpoints, Limits(newest=1), PLENTY, 0.0)] == ["1", "0"]


def test_those_of_no_known_workload_are_no_surplus() -> None:
    assert plan([item("a"), item("b")], Limits(newest=1), PLENTY, 0.0) == []


checkpoints = st.lists(
    st.builds(
        Item,
        id=st.uuids().map(str),
        bytes=st.integers(0, 100),
        created=st.floats(0, 100),
        last_used=st.floats(0, 100),
        workload=st.none() | st.sampled_from([("a", "k"), ("b", "k")]),
        pinned=st.booleans(),
        leased=st.booleans(),
        dead=st.booleans(),
    ),
    max_size=12,
    unique_by=lambda checkpoint: checkpoint.id,
)
limits = st.builds(
    Limits,
    max_bytes=st.none() | st.integers(0, 500),
    min_free=st.integers(0, 500),
    max_age_s=st.none() | st.floats(0, 100),
    newest=st.none() | st.integers(0, 3),
)
spaces = st.builds(Space, free=st.integers(0, 500), promised=st.integers(0, 100), drafts=st.integers(0, 100))


@given(checkpoints, limits, spaces, st.integers(0, 300))
def test_space_is_made_within_the_limits_or_refused(
    checkpoints: list[Item], limits: Limits, space: Space, size: int
) -> None:
    by_name = {checkpoint.id: checkpoint for checkpoint in checkpoints}

    def fits(gone: set[str]) -> bool:
        left = sum(checkpoint.bytes for checkpoint in checkpoints if checkpoint.id not in gone)
        freed = sum(by_name[name].bytes for name in gone)
        within = limits.max_bytes is None or left + space.drafts + size <= limits.max_bytes
        return within and space.free + freed - space.promised - size >= limits.min_free

    try:
        evictions = make_space(checkpoints, limits, space, size, size)
    except CacheError:
        assert not fits({checkpoint.id for checkpoint in checkpoints if checkpoint.may_go})
        return
    gone = {name for name, _, _ in evictions}
    assert len(gone) == len(evictions)
    assert all(by_name[name].may_go for name in gone)
    assert fits(gone)
    assert not evictions or not fits(gone - {evictions[-1][0]})


@given(checkpoints, limits, spaces, st.floats(0, 300))
def test_a_garbage_collection_spares_pins_and_leases_and_says_why(
    checkpoints: list[Item], limits: Limits, space: Space, now: float
) -> None:
    by_name = {checkpoint.id: checkpoint for checkpoint in checkpoints}
    evictions = plan(checkpoints, limits, space, now)
    assert len({name for name, _, _ in evictions}) == len(evictions)
    for name, why, size in evictions:
        assert by_name[name].may_go
        assert why
        assert size == by_name[name].bytes
    left = [by_name[name] for name in by_name.keys() - {name for name, _, _ in evictions}]
    if limits.max_age_s is not None:
        assert not [one for one in left if one.may_go and now - one.last_used > limits.max_age_s]
    if limits.max_bytes is not None and sum(one.bytes for one in left) + space.drafts > limits.max_bytes:
        assert not [one for one in left if one.may_go]
