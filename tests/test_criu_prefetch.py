"""What is read ahead: images and extents, no further than allowed, and nothing of a checkpoint that is gone."""

import os
from pathlib import Path

import pytest

from glowplug.criu import prefetch
from glowplug.host import pagecache

SIZE = 20 << 20


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    for name in ("images/pages-1.img", "memory/1-0", "layer/tree/large"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(os.urandom(SIZE))
    os.mkfifo(tmp_path / "layer/tree/fifo")
    (tmp_path / "images/link").symlink_to(tmp_path / "layer/tree/fifo")
    return tmp_path


def drop(checkpoint: Path) -> None:
    """Out of the page cache; a test can't say anything where the file system keeps what it has to drop."""
    for path in prefetch.files(str(checkpoint)):
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
    if unread(checkpoint) < 2 * SIZE:
        pytest.skip("this file system keeps what it has to drop")


def unread(checkpoint: Path) -> int:
    return sum(map(pagecache.uncached_bytes, prefetch.files(str(checkpoint))))


def test_images_and_extents_are_in_the_page_cache_then(checkpoint: Path) -> None:
    drop(checkpoint)
    assert prefetch.prefetch(str(checkpoint), 1 << 40, lambda: True) == 2 * SIZE
    assert unread(checkpoint) == 0


def test_no_more_is_read_than_there_is_memory_for(checkpoint: Path) -> None:
    assert prefetch.prefetch(str(checkpoint), SIZE, lambda: True) <= SIZE + prefetch.BLOCK_BYTES


def test_a_restore_ends_it(checkpoint: Path) -> None:
    answers = iter([True, True])
    read = prefetch.prefetch(str(checkpoint), 1 << 40, lambda: next(answers, False))
    assert read == 2 * prefetch.BLOCK_BYTES


def test_a_checkpoint_that_is_gone_is_no_error(tmp_path: Path) -> None:
    assert prefetch.prefetch(str(tmp_path / "gone"), 1 << 40, lambda: True) == 0


def test_the_lists_at_the_top_are_read_too(checkpoint: Path) -> None:
    """Each restore checks them; and what is never read would count as unread forever."""
    (checkpoint / "blocks.json").write_text("{}")
    assert f"{checkpoint}/blocks.json" in [os.path.normpath(path) for path in prefetch.files(str(checkpoint))]


def test_holes_are_not_read(checkpoint: Path) -> None:
    """Each would fill the page cache with zeros."""
    sparse = checkpoint / "memory/1-0"
    with open(sparse, "r+b") as file:
        file.truncate(4 * SIZE)
        file.seek(3 * SIZE)
        file.write(b"end")
    drop(checkpoint)
    read = prefetch.prefetch(str(checkpoint), 1 << 40, lambda: True)
    assert 2 * SIZE <= read < 2 * SIZE + (1 << 20)
    assert unread(checkpoint) == 0
