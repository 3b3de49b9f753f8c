"""Who is served, what the index sees, and the store's own directory."""

import json
import math
import os
import stat
import time
from datetime import UTC, datetime

import pytest
from tests.cache_made import fill, manifest_of, published, write
from tests.cache_store.made import leftovers

from glowplug.cache import disk, draft, index, layout
from glowplug.cache.evict import Limits
from glowplug.cache.index import Entry
from glowplug.cache.store import Store
from glowplug.errors import CacheError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_a_checkpoint_serves_its_own_namespace_and_who_accepts_it(store: Store) -> None:
    own = published(store, created=1, namespace="a")
    shared = published(store, created=2, namespace="b", shared=True)
    foreign = published(store, created=3, namespace="b")
    accepts = frozenset(("b",))
    assert [entry.id for entry in store.index.find("a", "k1")] == [own]
    assert [entry.id for entry in store.index.of_namespace("a")] == [own]
    assert [entry.id for entry in store.index.find("a", "k1", accepts)] == [own, shared]
    assert [entry.id for entry in store.index.of_namespace("a", accepts)] == [own, shared]
    assert [entry.id for entry in store.index.find("b", "k1")] == [foreign, shared]
    assert store.index.find("a", "k2", accepts) == []
    assert store.index.find("", "k1", frozenset(("", "b"))) == []


def test_another_namespace_can_t_push_out_one_s_own(store: Store) -> None:
    own = published(store, created=1, namespace="a")
    for created in range(2, 12):
        published(store, created=created, namespace="b", shared=True)
    assert store.index.find("a", "k1", frozenset(("b",)))[0].id == own


def test_the_index_sees_what_other_processes_did(store: Store) -> None:
    other = Store(store.root)
    assert store.index.find("default", "k1") == []
    name = published(other)
    assert [entry.id for entry in store.index.find("default", "k1")] == [name]
    other.remove(name)
    assert store.index.find("default", "k1") == []
    assert store.index.get(name) is None


def test_what_is_no_directory_is_no_checkpoint(store: Store) -> None:
    """A file or a link of that name stops nobody who goes through them all."""
    name = published(store)
    os.symlink(store.path(name), layout.checkpoint(store.root, "b" * 32))
    with open(layout.checkpoint(store.root, "a" * 32), "wb"):
        assert store.ids() == [name]
    assert store.gc() == []


@pytest.mark.parametrize(
    ("created", "seconds"),
    [
        (12.5, 12.5),
        ("2025-01-02T03:04:05Z", datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()),
        ("2025-01-02T03:04:05", datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()),
    ],
)
def test_when_it_was_made(store: Store, created: object, seconds: float) -> None:
    with store.draft(1 << 16) as opened:
        manifest = json.loads(fill(opened)) | {"created": created}
        store.publish(opened, json.dumps(manifest).encode())
    assert store.rows()[0].created == seconds


@pytest.mark.parametrize("created", ["yesterday", None, 10**400, 1e18, -5, "0001-01-01T00:00:00Z", [1]])
def test_a_time_that_is_invalid_gives_that_of_the_publication(store: Store, created: object) -> None:
    with store.draft(1 << 16) as opened:
        manifest = json.loads(fill(opened)) | {"created": created}
        name = store.publish(opened, json.dumps(manifest).encode())
    assert store.rows()[0].created == os.lstat(store.path(name)).st_mtime


@pytest.mark.parametrize("created", [math.inf, math.nan])
def test_a_manifest_with_a_number_that_json_does_not_have_is_refused(store: Store, created: float) -> None:
    with store.draft(1 << 16) as opened:
        manifest = json.loads(fill(opened)) | {"created": created}
        with pytest.raises(CacheError, match="not JSON"):
            store.publish(opened, json.dumps(manifest).encode())


def test_the_salt_is_drawn_once_and_private(store: Store) -> None:
    salt = store.salt()
    assert len(salt) == 32
    assert Store(store.root).salt() == salt
    assert stat.S_IMODE(os.lstat(layout.salt(store.root)).st_mode) == 0o600
    with open(layout.salt(store.root), "wb") as file:
        file.write(b"short")
    with pytest.raises(CacheError, match="expected 32 bytes, got 5"):
        store.salt()


def test_a_store_that_others_could_read_is_made_private(tmp_path: object) -> None:
    os.mkdir(f"{tmp_path}/store", 0o755)
    Store(f"{tmp_path}/store")
    assert stat.S_IMODE(os.lstat(f"{tmp_path}/store").st_mode) == 0o700


def test_a_directory_that_others_use_is_refused_untouched(tmp_path: object) -> None:
    root = f"{tmp_path}/lib"
    os.makedirs(f"{root}/dpkg")
    os.chmod(root, 0o755)
    with pytest.raises(CacheError, match="expected a directory for checkpoints alone, got 'dpkg'"):
        Store(root)
    assert os.listdir(root) == ["dpkg"]
    assert stat.S_IMODE(os.lstat(root).st_mode) == 0o755


def test_a_new_file_system_is_taken(tmp_path: object) -> None:
    os.makedirs(f"{tmp_path}/disk/lost+found")
    os.chmod(f"{tmp_path}/disk", 0o755)
    assert Store(f"{tmp_path}/disk").ids() == []


def test_a_store_that_is_a_link_or_a_file_is_refused(tmp_path: object) -> None:
    os.mkdir(f"{tmp_path}/real")
    os.symlink(f"{tmp_path}/real", f"{tmp_path}/store")
    with pytest.raises(CacheError, match="expected a directory of owner"):
        Store(f"{tmp_path}/store")
    with open(f"{tmp_path}/file", "wb"), pytest.raises(CacheError, match="store"):
        Store(f"{tmp_path}/file")


@as_root
def test_a_store_of_another_owner_is_refused(tmp_path: object) -> None:
    os.mkdir(f"{tmp_path}/store")
    os.chown(f"{tmp_path}/store", 1000, 1000)
    with pytest.raises(CacheError, match="got drwxr-xr-x of 1000"):
        Store(f"{tmp_path}/store")


def test_a_tree_deeper_than_a_path_is_long_can_be_abandoned(store: Store) -> None:
    opened = store.draft(1)
    descriptor = os.open(opened.path, os.O_RDONLY)
    for _ in range(100):
        os.mkdir("d" * 200, dir_fd=descriptor)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    with pytest.raises(CacheError):
        manifest_of(opened.path)
    opened.abandon()
    assert leftovers(store) == []


def test_two_may_delete_the_same_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other is one file ahead, all the way: what we find is gone when we reach for it."""
    write(layout.trash(store.root), {f"gone/{place}/{name}": b"" for place in "abc" for name in "xyz"})
    unlink = os.unlink
    calls = []

    def taken_before(path: str) -> None:
        calls.append(path)
        unlink(path)
        if len(calls) % 2:
            unlink(path)  # the second of the two

    monkeypatch.setattr(os, "unlink", taken_before)
    disk.delete(f"{layout.trash(store.root)}/gone")
    assert len(calls) == 9
    disk.delete(f"{layout.trash(store.root)}/gone")
    assert leftovers(store) == []


def test_what_a_dead_writer_promised_is_free_again(store: Store) -> None:
    store.limits = Limits(max_bytes=10 << 20)
    opened = draft.create(store.root, 9 << 20)
    os.close(opened._descriptor)  # as the kernel does when the writer dies
    with store.draft(6 << 20):
        assert len(draft.names(store.root)) == 1


def test_one_of_a_clock_that_was_ahead_is_not_the_newest_forever() -> None:
    now = time.time()
    entries = [
        Entry(name, "ns", "key", False, made) for name, made in (("past", now - 9), ("ahead", now + 86_400))
    ]
    assert [entry.id for entry in index._newest_first(entries)] == ["past", "ahead"]
    assert [entry.made(now + 90_000) > 0 for entry in entries] == [
        True,
        True,
    ]  # when its time has come, it is one
