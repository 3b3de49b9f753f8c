"""Who is read ahead, and when: what was requested and what is pinned, while no restore wants the disk."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from integration.waiting import wait_until
from tests.cache_made import published

from glowplug import paths
from glowplug.agent.serving.prefetch import Prefetcher
from glowplug.cache.store import Store
from glowplug.criu import prefetch
from glowplug.host import memory

WITHIN_S = 60.0


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    return Store(str(tmp_path / "store"))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The checkpoints that were read, in that order: these are too small to leave the page cache."""
    found: list[str] = []

    def note(directory: str, _limit: int, may_continue: Callable[[], bool]) -> int:
        assert may_continue()
        found.append(os.path.basename(directory))
        return 0

    monkeypatch.setattr(prefetch, "prefetch", note)
    monkeypatch.setattr("glowplug.host.pagecache.uncached_bytes", lambda _path: 1)
    return found


@pytest.fixture
def prefetcher(store: Store) -> Iterator[Prefetcher]:
    made = Prefetcher(store)
    yield made
    if made.is_alive():
        made.close()


def test_what_is_requested_is_read(store: Store, prefetcher: Prefetcher, read: list[str]) -> None:
    name = published(store)
    prefetcher.start()
    prefetcher.want(name)
    wait_until(lambda: read == [name], WITHIN_S, "the checkpoint read")


def test_nothing_is_read_while_a_restore_is_under_way(
    store: Store, prefetcher: Prefetcher, read: list[str]
) -> None:
    os.makedirs(paths.attempt("c1"))
    lock = os.open(f"{paths.attempt('c1')}/lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    prefetcher.want(published(store))
    prefetcher.start()
    wait_until(lambda: not prefetcher._wanted, WITHIN_S, "the question taken up")
    prefetcher.close()
    assert read == []


def test_a_checkpoint_that_is_gone_ends_nothing(
    store: Store, prefetcher: Prefetcher, read: list[str]
) -> None:
    name = published(store)
    prefetcher.start()
    prefetcher.want("0" * 32)
    wait_until(lambda: not prefetcher._wanted, WITHIN_S, "the question taken up")
    prefetcher.want(name)
    wait_until(lambda: read == [name], WITHIN_S, "the next one read")


def test_pinned_checkpoints_are_kept_as_far_as_they_fit(
    store: Store, prefetcher: Prefetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer, other = (published(store, float(number)) for number in (1, 2, 3))
    for name in (older, newer):
        store.pin(name)
    os.utime(f"{store.path(older)}", (1, 1))
    assert prefetcher.pinned() == [newer, older]
    monkeypatch.setattr(memory, "available", lambda: 3 * store.size(newer))
    assert prefetcher.pinned() == [newer]
    store.quarantine(newer, "bad", [])
    assert prefetcher.pinned() == [older]
    assert other not in prefetcher.pinned()


def test_a_pinned_one_that_does_not_stay_in_memory_is_not_read_all_the_time(
    store: Store, prefetcher: Prefetcher, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that is short of memory drops it: read again and again, its disk would do nothing else."""
    name = published(store)
    passed = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: passed[0])
    for at in range(0, 3600, 10):
        passed[0] = float(at)
        prefetcher._read_pinned(name)
    assert 2 <= len(read) <= 8


def test_of_several_that_are_requested_all_are_read(
    store: Store, prefetcher: Prefetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers of several workloads come at once: a later question ends no reading that another waits for."""
    names = [published(store, float(number)) for number in range(1, 4)]
    complete: list[str] = []

    def note(directory: str, _limit: int, may_continue: Callable[[], bool]) -> int:
        for name in names:
            if name not in requests:
                requests.append(name)
                prefetcher.want(name)
        if may_continue():
            complete.append(os.path.basename(directory))
        return 0

    requests = [names[0]]
    monkeypatch.setattr(prefetch, "prefetch", note)
    monkeypatch.setattr("glowplug.host.pagecache.uncached_bytes", lambda _path: 1)
    prefetcher.want(names[0])
    prefetcher.start()
    wait_until(lambda: complete == names, WITHIN_S, "all of them read")
