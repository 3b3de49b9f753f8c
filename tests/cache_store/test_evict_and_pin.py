"""Space, pins, quarantine, early exits and eviction."""

import os
import time

import pytest
from tests.cache_made import fill, manifest_of, published, write
from tests.cache_store.made import Clock, leftovers

from glowplug.cache import layout, lease, renames, state
from glowplug.cache.evict import Limits
from glowplug.cache.store import Store
from glowplug.errors import CacheError


def test_a_capture_that_cannot_fit_is_refused_with_the_numbers_and_evicts_nothing(store: Store) -> None:
    name = published(store)
    store.limits = Limits(max_bytes=10 << 20)
    with pytest.raises(CacheError, match=r"no space for 32505856 bytes: size limit 10485760 bytes, \d+ "):
        store.draft(30 << 20)
    assert store.ids() == [name]
    assert leftovers(store) == []


def test_a_capture_that_would_break_the_free_space_floor_is_refused(store: Store) -> None:
    store.limits = Limits(min_free=1 << 60)
    with pytest.raises(CacheError, match="1152921504606846976 to stay free"):
        store.draft(1)


def test_the_least_recently_used_goes_for_a_new_one_pins_and_leases_stay(store: Store) -> None:
    names = [published(store, created=number) for number in range(4)]
    for number, name in enumerate(names):
        os.utime(layout.lease(store.root, name), (number, number))
    store.pin(names[0])
    descriptor = lease.take(store.root, names[1])
    os.utime(layout.lease(store.root, names[1]), (1, 1))
    size = store.size(names[0])
    store.limits = Limits(max_bytes=4 * size + (1 << 20))
    with store.draft(1) as opened:
        assert opened.bytes_needed == 1 + (1 << 20)
        assert sorted(store.ids()) == sorted([names[0], names[1], names[3]])
    lease.release(descriptor)


def test_space_promised_to_one_capture_is_not_promised_to_another(store: Store) -> None:
    store.limits = Limits(max_bytes=10 << 20)
    with store.draft(6 << 20), pytest.raises(CacheError, match=r"7340032 bytes in captures under way"):
        Store(store.root, store.limits).draft(6 << 20)
    with store.draft(6 << 20):
        pass


def test_a_capture_that_grew_past_its_promise_is_refused_at_the_end(store: Store) -> None:
    store.limits = Limits(max_bytes=2 << 20)
    with store.draft(1) as opened:
        manifest = fill(opened)
        write(opened.path, {"memory/more": b"m" * (3 << 20)})
        manifest = manifest_of(opened.path)
        with pytest.raises(CacheError, match="no space for"):
            store.publish(opened, manifest)
    assert store.ids() == []
    assert leftovers(store) == []


def test_a_pin_lasts_until_it_is_taken_away_and_does_not_keep_from_rm(store: Store) -> None:
    name = published(store)
    store.pin(name)
    assert Store(store.root).rows()[0].pinned
    store.unpin(name)
    assert not store.state(name).pinned
    store.pin(name)
    store.remove(name)
    assert store.ids() == []
    assert os.listdir(layout.states(store.root)) == ["lock"]


def test_quarantine_keeps_reason_and_log_and_ends_by_the_back_off(store: Store, clock: Clock) -> None:
    name = published(store)
    before = store.manifest(name)
    store.quarantine(name, "criu: failed", [f"line {number}" for number in range(50)])
    row = store.rows()[0]
    assert row.quarantine == "criu: failed"
    assert row.quarantined_until == clock.seconds + 600
    current = Store(store.root).state(name).quarantine
    assert current is not None
    assert current.log_tail == tuple(f"line {number}" for number in range(30, 50))
    assert store.verify(name) == []
    assert store.manifest(name) == before
    clock.seconds += 601
    assert store.rows()[0].quarantine is None


def test_the_back_off_doubles_and_in_the_end_waits_for_a_person(store: Store, clock: Clock) -> None:
    name = published(store)
    pauses: list[float] = []
    while len(pauses) < 10:
        current = store.quarantine(name, "again").quarantine
        assert current is not None
        if current.until is None:
            break
        pauses.append(current.until - clock.seconds)
    assert pauses == [600, 1200, 2400, 4800, 9600]
    clock.seconds += 10**9
    assert store.rows()[0].quarantine == "again"
    store.clear_quarantine(name)
    assert store.rows()[0].quarantine is None
    assert store.state(name).failures == 0


def test_damage_does_not_heal_by_itself(store: Store, clock: Clock) -> None:
    name = published(store)
    store.quarantine(name, "check: truncated", until=state.FOREVER)
    clock.seconds += 10**9
    assert store.state(name).quarantined(clock.seconds) is not None


def test_early_exits_in_a_row_quarantine_it_one_that_lives_starts_the_count_again(store: Store) -> None:
    name = published(store)
    store.early_exit(name)
    store.early_exit(name)
    store.proved(name)
    store.early_exit(name)
    assert store.early_exit(name).quarantine is None
    current = store.early_exit(name).quarantine
    assert current is not None
    assert current.reason == "3 restored containers in a row exited early"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"version": 1}', b'{"version": 2}', b'{"version": 1, "pinned": 1}', b"[" * 100_000],
)
def test_a_state_that_cannot_be_read_quarantines_and_keeps(store: Store, content: bytes) -> None:
    name = published(store)
    with open(layout.state(store.root, name), "wb") as file:
        file.write(content)
    row = store.rows()[0]
    assert row.quarantine is not None
    assert "can't be read" in row.quarantine
    store.limits = Limits(max_bytes=1)
    assert store.gc() == []
    store.clear_quarantine(name)
    store.unpin(name)
    assert [evicted for evicted, _, _ in store.gc()] == [name]


@pytest.mark.parametrize(
    "change", ["pin", "unpin", "clear_quarantine", "early_exit", "remove", "verify", "path"]
)
def test_what_is_not_there_is_said_so(store: Store, change: str) -> None:
    with pytest.raises(CacheError, match="no checkpoint 0000"):
        getattr(store, change)("0" * 32)
    assert os.listdir(layout.states(store.root)) in ([], ["lock"])


def test_gc_says_the_same_dry_and_wet(store: Store, clock: Clock) -> None:
    old, *rest = [published(store, created=number, key=f"k{number}") for number in range(3)]
    clock.seconds = 2_000_000_000.0
    os.utime(layout.lease(store.root, old), (clock.seconds - 20 * 86_400,) * 2)
    for name in rest:
        os.utime(layout.lease(store.root, name), (clock.seconds,) * 2)
    store.limits = Limits(max_age_s=10 * 86_400)
    planned = store.gc(dry_run=True)
    assert len(store.ids()) == 3
    assert planned == [(old, "not used for 20.0 days, the limit is 10.0", store.size(old))]
    assert store.gc() == planned
    assert sorted(store.ids()) == sorted(rest)


def test_a_clock_that_is_ahead_for_a_while_empties_no_cache(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = published(store)
    store.limits = Limits(max_age_s=30 * 86_400)
    passed = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: passed[0])
    clock.seconds = time.time() + 40 * 86_400
    assert store.gc(patience_s=3600) == []
    clock.seconds = time.time()
    passed[0] = 1800.0
    assert store.gc(patience_s=3600) == []
    clock.seconds += 40 * 86_400
    passed[0] = 4000.0
    assert store.gc(patience_s=3600) == []  # it counts again
    passed[0] = 8000.0
    assert [one[0] for one in store.gc(patience_s=3600)] == [name]


def test_gc_keeps_the_newest_of_each_workload_and_namespace(store: Store) -> None:
    names = [published(store, created=number) for number in range(4)]
    other = published(store, created=0, namespace="other")
    store.limits = Limits(newest=2)
    assert sorted(name for name, _, _ in store.gc()) == sorted(names[:2])
    assert sorted(store.ids()) == sorted([*names[2:], other])


def test_gc_opens_nothing_while_all_is_within_the_limits(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent asks every few seconds, and answers starts meanwhile."""
    published(store)
    requests: list[str] = []

    def is_leased(_root: str, name: str) -> bool:
        requests.append(name)
        return False

    monkeypatch.setattr(lease, "is_leased", is_leased)
    assert store.gc() == [] and requests == []
    store.limits = Limits(max_bytes=0)
    assert len(store.gc()) == len(requests) == 1


def test_gc_leaves_what_is_in_use(store: Store) -> None:
    name = published(store)
    store.limits = Limits(max_bytes=1)
    descriptor = lease.take(store.root, name)
    assert store.gc() == []
    lease.release(descriptor)
    assert [evicted for evicted, _, _ in store.gc()] == [name]


def test_a_pin_that_is_set_after_the_plan_was_made_counts(store: Store) -> None:
    name = published(store)
    store.limits = Limits(max_bytes=1)
    assert [planned for planned, _, _ in store.gc(dry_run=True)] == [name]
    store.pin(name)
    assert renames.evict(store.root, name, spare_pinned=True) is None
    assert store.ids() == [name]
    assert store.state(name).pinned
