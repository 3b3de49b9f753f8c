"""A disk that is really full: what was there stays intact, what was begun is gone, the numbers are said."""

import os
import subprocess
from collections.abc import Iterator

import pytest
from tests.cache_made import manifest_of, published, write

from glowplug.cache import layout, lease
from glowplug.cache.evict import Limits
from glowplug.cache.store import Store
from glowplug.errors import CacheError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a small tmpfs")

DISK = 8 << 20  # bytes


@pytest.fixture
def disk(tmp_path: object) -> Iterator[str]:
    path = f"{tmp_path}/disk"
    os.mkdir(path)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", path], check=True, timeout=60)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True, timeout=60)


def stuff(path: str) -> None:
    """Writes until the disk takes no more."""
    with open(path, "wb", 0) as file, pytest.raises(OSError, match="No space left on device"):
        while True:
            file.write(bytes(1 << 12))


def test_a_capture_that_fills_the_disk_leaves_nothing_and_the_next_one_fits(disk: str) -> None:
    store = Store(f"{disk}/store")
    kept = published(store, created=1)
    with store.draft(1 << 20) as opened:
        os.mkdir(f"{opened.path}/memory")
        stuff(f"{opened.path}/memory/1")
    assert store.ids() == [kept]
    assert store.verify(kept) == []
    assert os.listdir(layout.drafts(store.root)) == []
    assert len({kept, published(store, created=2)}) == 2


def test_a_disk_that_fills_up_before_the_manifest_is_written(disk: str) -> None:
    store = Store(f"{disk}/store")
    with store.draft(1 << 20) as opened:
        write(opened.path)
        manifest = manifest_of(opened.path)
        stuff(f"{disk}/other")
        with pytest.raises(CacheError, match=r"can't be published: .*No space left on device"):
            store.publish(opened, manifest)
    assert store.ids() == []
    assert os.listdir(layout.drafts(store.root)) == []
    os.unlink(f"{disk}/other")
    published(store)


def test_a_full_disk_refuses_a_draft_with_the_numbers(disk: str) -> None:
    store = Store(f"{disk}/store", Limits(min_free=1 << 20))
    name = published(store)
    store.pin(name)
    stuff(f"{disk}/other")
    with pytest.raises(CacheError, match=r"no space for 2097152 bytes: .* 0 bytes free on the file system"):
        store.draft(1 << 20)
    store.limits = Limits()
    with pytest.raises(CacheError, match="no space for"):
        store.draft(0)
    assert store.ids() == [name]


def test_eviction_frees_a_full_disk(disk: str) -> None:
    store = Store(f"{disk}/store")
    with store.draft(4 << 20) as opened:
        write(opened.path, {"memory/1": bytes(4 << 20)})
        old = store.publish(opened, manifest_of(opened.path))
    with store.draft(5 << 20):
        assert old not in store.ids()


def test_a_state_that_cannot_be_written_stays_as_it_was_and_removing_still_works(disk: str) -> None:
    store = Store(f"{disk}/store")
    name = published(store)
    store.pin(name)
    stuff(f"{disk}/other")
    with pytest.raises(CacheError, match="No space left on device"):
        store.quarantine(name, "x" * 10_000)
    assert store.state(name).pinned
    assert store.state(name).quarantine is None
    lease.release(lease.take(store.root, name))
    store.remove(name)
    assert store.ids() == []
