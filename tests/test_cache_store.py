"""The store as its callers meet it: publish whole or not at all, find, keep, set apart, remove."""

import errno
import json
import math
import os
import stat
import time
from datetime import UTC, datetime

import pytest
from tests.cache_made import fill, manifest_of, published, write

from glowplug.cache import check, disk, draft, index, layout, lease, locking, renames, state
from glowplug.cache.evict import Limits
from glowplug.cache.index import Entry
from glowplug.cache.store import Store
from glowplug.errors import CacheError, DamagedCheckpoint

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


class Clock:
    """A time of day that the test sets."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: object, clock: Clock) -> Store:
    return Store(f"{tmp_path}/store", now=clock)


def leftovers(store: Store) -> list[str]:
    """What lies in drafts/ and trash/."""
    return os.listdir(layout.drafts(store.root)) + os.listdir(layout.trash(store.root))


# -- publish --


def test_a_published_checkpoint_is_named_by_its_manifest_and_private(store: Store) -> None:
    with store.draft(1 << 16) as opened:
        manifest = fill(opened)
        name = store.publish(opened, manifest)
    assert store.ids() == [name]
    assert store.manifest(name) == manifest
    modes = {
        (stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode))
        for directory, _, names in os.walk(store.path(name))
        if "/tree" not in directory
        for status in [os.lstat(directory), *(os.lstat(f"{directory}/{file}") for file in names)]
    }
    assert modes == {(stat.S_IFDIR, 0o700), (stat.S_IFREG, 0o600)}
    assert leftovers(store) == []


@pytest.mark.parametrize("path", ["layer/tree/etc/motd", "shm/tree/sem.lock", "volumes/0/tree/data"])
def test_a_containers_own_files_keep_their_modes(store: Store, path: str) -> None:
    with store.draft(1 << 16) as opened:
        write(opened.path)
        os.chmod(f"{opened.path}/{path}", 0o4755)
        os.chmod(os.path.dirname(f"{opened.path}/{path}"), 0o1777)
        name = store.publish(opened, manifest_of(opened.path))
    assert stat.S_IMODE(os.lstat(f"{store.path(name)}/{path}").st_mode) == 0o4755
    assert stat.S_IMODE(os.lstat(os.path.dirname(f"{store.path(name)}/{path}")).st_mode) == 0o1777
    check.check(store.root, name)


def test_a_draft_that_changed_after_its_digests_is_refused(store: Store) -> None:
    with store.draft(1 << 16) as opened:
        manifest = fill(opened)
        with open(f"{opened.path}/images/pages-1.img", "r+b") as file:
            file.write(b"~")
        with pytest.raises(DamagedCheckpoint, match=r"images/pages-1\.img: wanted blake3"):
            store.publish(opened, manifest)
    assert store.ids() == []
    assert leftovers(store) == []


def test_a_draft_with_an_unlisted_file_is_refused(store: Store) -> None:
    with store.draft(1 << 16) as opened:
        manifest = fill(opened)
        write(opened.path, {"images/extra.img": b""})
        with pytest.raises(DamagedCheckpoint, match=r"images/extra\.img: wanted no such file"):
            store.publish(opened, manifest)


def test_a_draft_with_a_link_outside_the_layer_is_refused(store: Store) -> None:
    with store.draft(1 << 16) as opened:
        manifest = fill(opened)
        os.symlink("/etc/passwd", f"{opened.path}/images/parent")
        with pytest.raises(DamagedCheckpoint, match="images/parent: wanted a regular file"):
            store.publish(opened, manifest)
        with pytest.raises(CacheError, match="images/parent: wanted a regular file"):
            manifest_of(opened.path)


@pytest.mark.parametrize("missing", ["files", "namespace", "key"])
def test_a_manifest_without_the_facts_that_it_is_found_by_is_refused(store: Store, missing: str) -> None:
    with store.draft(1 << 16) as opened:
        manifest = json.loads(fill(opened))
        del manifest[missing]
        with pytest.raises(CacheError, match=f'"{missing}'):
            store.publish(opened, json.dumps(manifest).encode())


def test_the_same_checkpoint_twice_is_one(store: Store) -> None:
    first = published(store, created=7)
    second = published(store, created=7)
    assert first == second
    assert store.ids() == [first]
    assert leftovers(store) == []


def test_an_abandoned_draft_leaves_nothing(store: Store) -> None:
    opened = store.draft(1 << 16)
    write(opened.path)
    store.abandon(opened)
    store.abandon(opened)
    assert leftovers(store) == []


def test_a_failed_capture_abandons_its_draft(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), store.draft(1 << 16) as opened:
        write(opened.path)
        raise KeyboardInterrupt
    assert leftovers(store) == []


def test_trash_that_cannot_be_deleted_keeps_nothing_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(layout.trash(store.root), {"stuck/mounted/file": b""})
    rmdir = os.rmdir

    def busy(path: str) -> None:  # what rmdir says of a mount point
        if path.endswith("mounted"):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
        rmdir(path)

    monkeypatch.setattr(os, "rmdir", busy)
    assert len(store.ids()) == 0
    published(store)
    (said,) = store.sweep()
    assert said.startswith("trash stuck can't be deleted: ")
    monkeypatch.undo()
    assert store.sweep() == ["trash stuck"]


def test_a_manifest_that_could_not_be_read_once_is_read_again(store: Store) -> None:
    name = published(store)
    path = f"{store.path(name)}/manifest.json"
    os.rename(path, f"{path}.away")
    assert store.index.find("default", "k1") == []
    os.rename(f"{path}.away", path)
    assert [entry.id for entry in store.index.find("default", "k1")] == [name]


def test_a_store_that_another_process_holds_for_long_is_said(store: Store) -> None:
    path = layout.store_lock(store.root)
    with (
        locking.held(path),
        pytest.raises(CacheError, match="held by another process"),
        locking.held(path, 0.05),
    ):
        pass
    with locking.held(path, wait_s=0):
        pass


def test_a_living_draft_is_not_swept(store: Store) -> None:
    with store.draft(1 << 16) as opened:
        assert Store(store.root).sweep() == []
        store.publish(opened, fill(opened))
    assert len(store.ids()) == 1


def test_a_manifest_of_a_newer_version_is_kept_and_found_for_its_facts(store: Store) -> None:
    with store.draft(1 << 16) as opened:
        manifest = json.loads(fill(opened)) | {"version": 99, "novel": {"deep": [1]}}
        name = store.publish(opened, json.dumps(manifest).encode())
    assert [entry.id for entry in store.index.find("default", "k1")] == [name]
    assert store.verify(name) == []


# -- room --


def test_a_capture_that_cannot_fit_is_refused_with_the_numbers_and_evicts_nothing(store: Store) -> None:
    name = published(store)
    store.limits = Limits(max_bytes=10 << 20)
    with pytest.raises(CacheError, match=r"no room for 32505856 bytes: size limit 10485760 bytes, \d+ "):
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


def test_room_promised_to_one_capture_is_not_given_to_another(store: Store) -> None:
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
        with pytest.raises(CacheError, match="no room for"):
            store.publish(opened, manifest)
    assert store.ids() == []
    assert leftovers(store) == []


# -- what changes about it --


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
    held = Store(store.root).state(name).quarantine
    assert held is not None
    assert held.log_tail == tuple(f"line {number}" for number in range(30, 50))
    assert store.verify(name) == []
    assert store.manifest(name) == before
    clock.seconds += 601
    assert store.rows()[0].quarantine is None


def test_the_back_off_doubles_and_in_the_end_waits_for_a_person(store: Store, clock: Clock) -> None:
    name = published(store)
    pauses: list[float] = []
    while len(pauses) < 10:
        held = store.quarantine(name, "again").quarantine
        assert held is not None
        if held.until is None:
            break
        pauses.append(held.until - clock.seconds)
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


def test_early_exits_in_a_row_set_it_apart_one_that_lives_starts_the_count_anew(store: Store) -> None:
    name = published(store)
    store.early_exit(name)
    store.early_exit(name)
    store.proved(name)
    store.early_exit(name)
    assert store.early_exit(name).quarantine is None
    held = store.early_exit(name).quarantine
    assert held is not None
    assert held.reason == "3 restored containers in a row exited early"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"version": 1}', b'{"version": 2}', b'{"version": 1, "pinned": 1}', b"[" * 100_000],
)
def test_a_state_that_cannot_be_read_sets_apart_and_keeps(store: Store, content: bytes) -> None:
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
    "change", ["pin", "unpin", "clear_quarantine", "early_exit", "remove", "used", "verify", "path"]
)
def test_what_is_not_there_is_said_so(store: Store, change: str) -> None:
    with pytest.raises(CacheError, match="no checkpoint 0000"):
        getattr(store, change)("0" * 32)
    assert os.listdir(layout.states(store.root)) in ([], ["lock"])


# -- gc --


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
    assert store.gc(patience_s=3600) == []  # it counts anew
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
    asked: list[str] = []

    def is_held(_root: str, name: str) -> bool:
        asked.append(name)
        return False

    monkeypatch.setattr(lease, "is_held", is_held)
    assert store.gc() == [] and asked == []
    store.limits = Limits(max_bytes=0)
    assert len(store.gc()) == len(asked) == 1


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


# -- who is served --


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


@pytest.mark.parametrize(
    "created", ["yesterday", None, math.inf, math.nan, 10**400, 1e18, -5, "0001-01-01T00:00:00Z", [1]]
)
def test_a_time_that_is_none_gives_that_of_the_publication(store: Store, created: object) -> None:
    with store.draft(1 << 16) as opened:
        manifest = json.loads(fill(opened)) | {"created": created}
        name = store.publish(opened, json.dumps(manifest).encode())
    assert store.rows()[0].created == os.lstat(store.path(name)).st_mtime


# -- the ground --


def test_the_salt_is_drawn_once_and_private(store: Store) -> None:
    salt = store.salt()
    assert len(salt) == 32
    assert Store(store.root).salt() == salt
    assert stat.S_IMODE(os.lstat(layout.salt(store.root)).st_mode) == 0o600
    with open(layout.salt(store.root), "wb") as file:
        file.write(b"short")
    with pytest.raises(CacheError, match="wanted 32 bytes, found 5"):
        store.salt()


def test_a_store_that_others_could_read_is_made_private(tmp_path: object) -> None:
    os.mkdir(f"{tmp_path}/store", 0o755)
    Store(f"{tmp_path}/store")
    assert stat.S_IMODE(os.lstat(f"{tmp_path}/store").st_mode) == 0o700


def test_a_directory_that_others_use_is_refused_untouched(tmp_path: object) -> None:
    root = f"{tmp_path}/lib"
    os.makedirs(f"{root}/dpkg")
    os.chmod(root, 0o755)
    with pytest.raises(CacheError, match="wanted a directory for checkpoints alone, found 'dpkg'"):
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
    with pytest.raises(CacheError, match="wanted a directory of owner"):
        Store(f"{tmp_path}/store")
    with open(f"{tmp_path}/file", "wb"), pytest.raises(CacheError, match="store"):
        Store(f"{tmp_path}/file")


@as_root
def test_a_store_of_another_owner_is_refused(tmp_path: object) -> None:
    os.mkdir(f"{tmp_path}/store")
    os.chown(f"{tmp_path}/store", 1000, 1000)
    with pytest.raises(CacheError, match="found drwxr-xr-x of 1000"):
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
