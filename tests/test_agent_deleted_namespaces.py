"""What is captured in a namespace goes with it: nobody keeps the memory of processes that are nobody's."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests import cache_made
from tests import checkpoint_made as made

from glowplug import paths
from glowplug.agent.deleted_namespaces import FRESH_S, PATIENCE_S, DeletedNamespaces
from glowplug.cache.store import Store
from glowplug.capture import namespaces


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "run"))
    return Store(str(tmp_path / "store"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def deleted(store: Store, clock: Clock) -> DeletedNamespaces:
    return DeletedNamespaces(store, made.SALT, clock)


def captured(store: Store, namespace: str, uid: str = "", **parts: Any) -> str:
    """A checkpoint of a namespace that had this uid."""
    key = made.key_of(namespace_uid=uid)
    with store.draft(1 << 16) as draft:
        plain = json.loads(cache_made.fill(draft, namespace=namespace, key=key.digest))
        plain["key"] |= {"parts": {**key.parts, **parts}, "conditions": key.conditions}
        return store.publish(draft, json.dumps(plain).encode())


def rounds(deleted: DeletedNamespaces, clock: Clock, seconds: float = PATIENCE_S) -> None:
    """Over so long a time."""
    for _ in range(4):
        deleted.remove()
        clock.now += seconds / 3


def test_one_of_a_deleted_namespace_goes_after_a_while(
    store: Store, deleted: DeletedNamespaces, clock: Clock
) -> None:
    captured(store, "gone")
    kept = captured(store, "models")
    namespaces.note({"models": "uid-1"})
    rounds(deleted, clock, PATIENCE_S * 0.7)
    assert len(store.ids()) == 2
    rounds(deleted, clock)
    assert store.ids() == [kept]


def test_one_of_a_namespace_made_again_goes(store: Store, deleted: DeletedNamespaces, clock: Clock) -> None:
    captured(store, "models", "uid-1")
    kept = [
        captured(store, "models", "uid-2"),
        captured(store, "models"),
        captured(store, "models", "uid-1", salt="x"),
    ]
    namespaces.note({"models": "uid-2"})
    rounds(deleted, clock)
    assert sorted(store.ids()) == sorted(kept)


def test_one_that_is_listed_again_stays(store: Store, deleted: DeletedNamespaces, clock: Clock) -> None:
    """A list may be behind for a moment."""
    name = captured(store, "new")
    for known in ({"models": "1"}, {"models": "1", "new": "2"}, {"models": "1"}):
        namespaces.note(known)
        rounds(deleted, clock, PATIENCE_S * 0.7)
    assert store.ids() == [name]


def test_a_pinned_one_stays(store: Store, deleted: DeletedNamespaces, clock: Clock) -> None:
    store.pin(captured(store, "gone"))
    namespaces.note({"models": "1"})
    rounds(deleted, clock)
    assert len(store.ids()) == 1


@pytest.mark.parametrize("listed", [None, {}, {"models": "1"}])
def test_where_nobody_says_or_not_lately_all_stay(
    store: Store, deleted: DeletedNamespaces, clock: Clock, listed: dict[str, str] | None
) -> None:
    captured(store, "gone")
    if listed is not None:
        namespaces.note(listed)
        old = os.stat(paths.namespaces()).st_mtime - FRESH_S - 1
        os.utime(paths.namespaces(), (old, old))
    rounds(deleted, clock)
    assert len(store.ids()) == 1
