"""How much of a file is in the page cache: exactly, and from samples of a large one."""

import os
from pathlib import Path

import pytest

from glowplug.host import pagecache

MIB = 1 << 20


def written(path: Path, size: int) -> str:
    with open(path, "wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
        file.flush()
        os.fsync(file.fileno())
    return str(path)


def drop(path: str, start: int, length: int) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, start, length, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


@pytest.mark.parametrize(("start", "length"), [(0, 0), (0, 32 * MIB), (20 * MIB, 40 * MIB), (63 * MIB, MIB)])
def test_samples_say_about_what_all_pages_say(tmp_path: Path, start: int, length: int) -> None:
    path = written(tmp_path / "large", 64 * MIB)
    assert pagecache.estimated_uncached_bytes(path) == 0
    if length:
        drop(path, start, length)
    exact = pagecache.uncached_bytes(path)
    assert exact > 0 or not length
    assert abs(pagecache.estimated_uncached_bytes(path) - exact) <= 64 * MIB // 64


def test_a_file_that_is_dropped_is_completely_uncached(tmp_path: Path) -> None:
    for name, size in (("small", MIB), ("large", 64 * MIB)):
        path = written(tmp_path / name, size)
        drop(path, 0, 0)
        assert pagecache.estimated_uncached_bytes(path) == pagecache.uncached_bytes(path) == size


def test_of_a_small_file_every_page_counts(tmp_path: Path) -> None:
    path = written(tmp_path / "small", 2 * MIB)
    drop(path, 0, MIB)
    assert pagecache.estimated_uncached_bytes(path) == pagecache.uncached_bytes(path) > 0


def test_where_the_kernel_can_t_say_nothing_is_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Linux before 6.5."""
    monkeypatch.setattr(pagecache, "_NR_cachestat", 9999)
    for name, size in (("small", MIB), ("large", 64 * MIB)):
        path = written(tmp_path / name, size)
        assert pagecache.estimated_uncached_bytes(path) == pagecache.uncached_bytes(path) == size


@pytest.mark.parametrize("cached", [True, False])
def test_a_hole_is_nothing_to_read(tmp_path: Path, cached: bool) -> None:
    """As memory extents have it where memory was zero."""
    path = written(tmp_path / "sparse", 64 * MIB)
    with open(path, "r+b") as file:
        file.truncate(256 * MIB)
        file.seek(255 * MIB)
        file.write(os.urandom(MIB))
        file.flush()
        os.fsync(file.fileno())
    if not cached:
        drop(path, 0, 0)
    exact = 0 if cached else 65 * MIB
    assert pagecache.uncached_bytes(path) == exact
    assert abs(pagecache.estimated_uncached_bytes(path) - exact) <= 4 * MIB


def test_an_empty_file_has_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert pagecache.uncached_bytes(str(tmp_path / "empty")) == 0
    assert pagecache.estimated_uncached_bytes(str(tmp_path / "empty")) == 0
