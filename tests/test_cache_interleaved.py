"""Operations in any order, and kills in between: what is in the store is intact, what is leased stays.

A state machine that hypothesis drives: two stores on one root, as an agent and a command beside it have; leases;
and operations whose process is killed at a random system call.
"""

import os
import shutil
import tempfile
from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.cache_killed import dies
from tests.cache_made import publish, publish_into

from glowplug.cache import check, layout, lease
from glowplug.cache.draft import Draft
from glowplug.cache.evict import Limits
from glowplug.cache.store import Store
from glowplug.errors import CacheError

FITTING = 4  # checkpoints that fit
picks = st.integers(0, 1 << 16)


class Interleaved(RuleBasedStateMachine):
    """The store's promises over any sequence of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp()
        self.root = f"{self.directory}/store"
        self.stores = [Store(self.root), Store(self.root)]
        self.leases: list[tuple[str, int]] = []
        self.drafts: list[Draft] = []
        self.pinned: set[str] = set()
        self.made = 0

    def teardown(self) -> None:
        for _, descriptor in self.leases:
            lease.release(descriptor)
        for draft in self.drafts:
            draft.abandon()
        shutil.rmtree(self.directory)

    @initialize()
    def bound(self) -> None:
        first = self.publish_new(self.stores[0])
        limit = FITTING * self.stores[0].size(first) + (1 << 20)
        for store in self.stores:
            store.limits = Limits(max_bytes=limit)

    def publish_new(self, store: Store) -> str:
        self.made += 1
        return publish(store, self.made)

    def one(self, pick: int) -> str | None:
        names = self.stores[0].ids()
        return names[pick % len(names)] if names else None

    @rule(which=st.integers(0, 1))
    def publishes(self, which: int) -> None:
        with suppress(CacheError):  # no space beside pins and leases
            self.publish_new(self.stores[which])

    @rule(which=st.integers(0, 1))
    def begins_a_draft(self, which: int) -> None:
        if not self.drafts:
            with suppress(CacheError):
                self.drafts.append(self.stores[which].draft(1))

    @precondition(lambda self: self.drafts)
    @rule(abandoned=st.booleans())
    def ends_a_draft(self, abandoned: bool) -> None:
        with self.drafts.pop() as draft, suppress(CacheError):
            if not abandoned:
                self.made += 1
                publish_into(self.stores[0], draft, self.made)

    @precondition(lambda self: len(self.leases) < 3)
    @rule(pick=picks)
    def leases_one(self, pick: int) -> None:
        name = self.one(pick)
        if name:
            self.leases.append((name, lease.take(self.root, name)))

    @precondition(lambda self: self.leases)
    @rule(pick=picks)
    def ends_a_lease(self, pick: int) -> None:
        _, descriptor = self.leases.pop(pick % len(self.leases))
        lease.release(descriptor)

    @rule(pick=picks, which=st.integers(0, 1))
    def removes(self, pick: int, which: int) -> None:
        name = self.one(pick)
        if name is None:
            return
        leased = name in {leased for leased, _ in self.leases}
        try:
            self.stores[which].remove(name)
        except CacheError:
            assert leased
        else:
            assert not leased
            self.pinned.discard(name)

    @rule(pick=picks)
    def pins(self, pick: int) -> None:
        name = self.one(pick)
        if name and len(self.pinned) < 2:
            self.stores[1].pin(name)
            self.pinned.add(name)

    @rule(pick=picks)
    def quarantines(self, pick: int) -> None:
        name = self.one(pick)
        if name:
            self.stores[1].quarantine(name, "a reason")

    @rule(which=st.integers(0, 1))
    def collects_garbage(self, which: int) -> None:
        self.stores[which].gc()

    @rule(number=st.integers(0, 150))
    def dies_while_it_publishes(self, number: int) -> None:
        self.made += 1

        def work() -> None:
            with suppress(CacheError):
                store = Store(self.root, self.stores[0].limits)
                publish(store, self.made)

        dies(work, number)

    @rule(pick=picks, number=st.integers(0, 40))
    def dies_while_it_removes(self, pick: int, number: int) -> None:
        name = self.one(pick)
        if name is None:
            return

        def work() -> None:
            with suppress(CacheError):
                Store(self.root).remove(name)

        dies(work, number)
        if name not in self.stores[0].ids():
            assert name not in {leased for leased, _ in self.leases}
            self.pinned.discard(name)

    @rule()
    def opens_again_and_sweeps(self) -> None:
        limits = self.stores[1].limits
        self.stores[1] = Store(self.root, limits)
        self.stores[1].sweep()
        assert os.listdir(layout.trash(self.root)) == []
        assert len(os.listdir(layout.drafts(self.root))) == 2 * len(self.drafts)

    @invariant()
    def what_is_there_is_intact(self) -> None:
        for name in os.listdir(layout.checkpoints(self.root)):
            assert layout.is_id(name)
            check.check(self.root, name)
            assert self.stores[0].verify(name) == []

    @invariant()
    def what_is_leased_or_pinned_is_there(self) -> None:
        present = set(self.stores[0].ids())
        assert {name for name, _ in self.leases} <= present
        assert self.pinned <= present
        assert all(self.stores[0].state(name).pinned for name in self.pinned)

    @invariant()
    def the_limit_holds(self) -> None:
        store = self.stores[0]
        if store.limits.max_bytes is not None:
            assert sum(store.size(name) for name in store.ids()) <= store.limits.max_bytes


Interleaved.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestInterleaved = Interleaved.TestCase
