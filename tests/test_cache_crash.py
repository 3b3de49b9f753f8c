"""Killed anywhere in publish, evict or a change: the store opens, its contents are intact, nothing stays behind.

A child process does the work and is killed at its n-th system call, for each n until it comes through alive.
"""

import os
from collections.abc import Callable

import pytest
from tests.cache_killed import FOREVER, child, dies
from tests.cache_made import SMALL, publish, published, write

from glowplug.cache import check, layout, lease
from glowplug.cache.evict import Limits
from glowplug.cache.store import Store
from glowplug.errors import CacheError, DamagedCheckpoint


def at_every_boundary(work: Callable[[Store], object], root: str, after: Callable[[Store], object]) -> int:
    """Kills the work at each boundary in turn and looks at the store each time; how many there were."""
    number = 0
    while dies(lambda: work(Store(root)), number):
        after(reopened(root))
        number += 1
    after(reopened(root))
    return number


def reopened(root: str) -> Store:
    """The store opened again and swept: intact, and nothing half-done in it."""
    store = Store(root)
    before = store.ids()
    for name in before:
        assert store.verify(name) == []
    store.sweep()
    assert store.ids() == before
    assert os.listdir(layout.drafts(root)) == []
    assert os.listdir(layout.trash(root)) == []
    beside = {
        name.partition(".")[0] for name in os.listdir(layout.leases(root)) + os.listdir(layout.states(root))
    }
    assert beside <= {*before, "lock"}
    return store


def publish_and_remove(root: str, times: int) -> None:
    store = Store(root)
    for number in range(1, times):
        store.remove(publish(store, number))


@pytest.fixture
def root(tmp_path: object) -> str:
    return f"{tmp_path}/store"


def test_a_writer_killed_while_it_publishes(root: str) -> None:
    store = Store(root)
    old = publish(store, 1)
    new = publish(store, 2)
    store.remove(new)

    def after(store: Store) -> None:
        assert set(store.ids()) in ({old}, {old, new})
        if new in store.ids():
            store.remove(new)

    assert at_every_boundary(lambda store: publish(store, 2), root, after) > 50


def test_a_writer_killed_while_it_removes(root: str) -> None:
    store = Store(root)
    kept = publish(store, 1)
    gone = publish(store, 2)

    def again() -> None:
        if gone not in store.ids():
            publish(store, 2)
        store.pin(gone)

    def after(store: Store) -> None:
        assert set(store.ids()) in ({kept}, {kept, gone})
        again()

    again()
    assert at_every_boundary(lambda store: store.remove(gone), root, after) > 15


def test_a_writer_killed_while_it_evicts_for_a_new_one(root: str) -> None:
    store = Store(root)
    leased = publish(store, 1)
    evicted = publish(store, 2)
    descriptor = lease.take(root, leased)
    os.utime(layout.lease(root, leased), (1, 1))
    limits = Limits(max_bytes=store.size(leased) + store.size(evicted) + (1 << 20))

    def evict(store: Store) -> None:
        store.limits = limits
        store.draft(1).abandon()

    def after(store: Store) -> None:
        assert set(store.ids()) in ({leased}, {leased, evicted})
        if evicted not in store.ids():
            publish(store, 2)

    assert at_every_boundary(evict, root, after) > 30
    lease.release(descriptor)


def test_a_writer_killed_while_it_changes_a_state(root: str) -> None:
    store = Store(root)
    name = publish(store, 1)
    store.quarantine(name, "before")

    def change(store: Store) -> None:
        store.clear_quarantine(name)
        store.quarantine(name, "after")

    def after(store: Store) -> None:
        quarantine = store.state(name).quarantine
        assert quarantine is None or quarantine.reason in ("before", "after")

    assert at_every_boundary(change, root, after) > 8


def test_a_writer_killed_while_it_draws_the_salt(root: str) -> None:
    Store(root)

    def after(store: Store) -> None:
        salt = store.salt()
        assert len(salt) == 32
        assert store.salt() == salt
        os.unlink(layout.salt(root))

    assert at_every_boundary(lambda store: store.salt(), root, after) > 3


def test_a_sweep_killed_while_it_takes_away_what_another_left(root: str) -> None:
    store = Store(root)
    kept = publish(store, 1)

    def leave() -> None:
        opened = store.draft(1)
        write(opened.path, SMALL)
        os.close(opened._descriptor)  # as the kernel does when the writer dies
        write(layout.trash(root), {"half/deleted": b""})

    def after(store: Store) -> None:
        assert store.ids() == [kept]
        leave()

    leave()
    assert at_every_boundary(lambda store: store.sweep(), root, after) > 10


def test_many_writers_at_once_publish_completely_and_evict_what_is_left_to_evict(root: str) -> None:
    store = Store(root, Limits(newest=3))
    kept = publish(store, 0)
    store.pin(kept)

    def work(first: int) -> None:
        mine = Store(root, store.limits)
        for created in range(first, first + 10):
            publish(mine, created)
            mine.gc()

    writers = []
    for first in (100, 200, 300, 400):
        pid = os.fork()
        if pid == 0:
            child(lambda first=first: work(first), FOREVER)  # type: ignore[misc]
        writers.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in writers] == [0, 0, 0, 0]
    reopened(root)
    store.gc()
    assert [entry.created for entry in store.index.all()] == [409, 408, 407, 0]


def test_readers_see_complete_checkpoints_while_a_writer_works(root: str) -> None:
    """A writer publishes and removes in a process of its own; each read here is of a complete one or says absent."""
    published(Store(root), created=0)
    pid = os.fork()
    if pid == 0:
        child(lambda: publish_and_remove(root, 40), FOREVER)
    store = Store(root)
    seen = 0
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        for entry in store.index.all():
            try:
                descriptor = lease.take(root, entry.id)
            except CacheError as error:
                assert not isinstance(error, DamagedCheckpoint)
                continue
            check.check(root, entry.id)
            lease.release(descriptor)
            seen += 1
    assert seen > 0
    reopened(root)
