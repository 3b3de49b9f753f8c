"""The store as its callers meet it: publish completely or not at all, find, keep, quarantined, remove."""

import errno
import json
import os
import stat

import pytest
from tests.cache_made import fill, manifest_of, published, write
from tests.cache_store.made import leftovers

from glowplug.cache import check, layout, locking
from glowplug.cache.store import Store
from glowplug.errors import CacheError, DamagedCheckpoint


def test_a_published_checkpoint_is_reported_by_its_manifest_and_private(store: Store) -> None:
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
        with pytest.raises(DamagedCheckpoint, match=r"images/pages-1\.img: expected blake3"):
            store.publish(opened, manifest)
    assert store.ids() == []
    assert leftovers(store) == []


def test_a_draft_with_an_unlisted_file_is_refused(store: Store) -> None:
    with store.draft(1 << 16) as opened:
        manifest = fill(opened)
        write(opened.path, {"images/extra.img": b""})
        with pytest.raises(DamagedCheckpoint, match=r"images/extra\.img: not in the manifest"):
            store.publish(opened, manifest)


def test_a_draft_with_a_link_outside_the_layer_is_refused(store: Store) -> None:
    with store.draft(1 << 16) as opened:
        manifest = fill(opened)
        os.symlink("/etc/passwd", f"{opened.path}/images/parent")
        with pytest.raises(DamagedCheckpoint, match="images/parent: expected a regular file"):
            store.publish(opened, manifest)
        with pytest.raises(CacheError, match="images/parent: expected a regular file"):
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
    opened.abandon()
    opened.abandon()
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


def test_a_store_that_another_process_holds_for_long_is_reported(store: Store) -> None:
    path = layout.store_lock(store.root)
    with (
        locking.locked(path),
        pytest.raises(CacheError, match="locked by another process"),
        locking.locked(path, 0.05),
    ):
        pass
    with locking.locked(path, wait_s=0):
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


def test_a_draft_whose_lock_somebody_took_first_is_another_s(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looks for dead drafts may see a new one before its maker has locked it, and throws it away."""
    try_lock, refused = locking.try_lock, list[str]()

    def first_refused(fd: int) -> bool:
        path = os.readlink(f"/proc/self/fd/{fd}")
        if path.startswith(f"{store.root}/drafts/") and not refused:
            refused.append(path)
            return False
        return try_lock(fd)

    monkeypatch.setattr(locking, "try_lock", first_refused)
    with store.draft(1 << 16) as opened:
        assert layout.draft_lock(store.root, opened.name) not in refused
        assert refused
        name = store.publish(opened, fill(opened))
    assert store.ids() == [name]
