"""Compile caches in the store: found, counted and evicted beside the checkpoints (pack.py says what is in one)."""

import os
from collections.abc import Iterator
from contextlib import suppress

from glowplug.cache import disk, layout, pack, sweep
from glowplug.cache.evict import Item
from glowplug.errors import CacheError

PREFIX = "compile/"
"""The id's prefix where it is listed beside checkpoints."""

_BLOCK = 512


def is_compile_cache(item_id: str) -> bool:
    """Whether the id is one's, and no checkpoint's."""
    return item_id.startswith(PREFIX)


def find(root: str, name: str) -> str | None:
    """The pack of that name, where there is one."""
    path = layout.compile_cache(root, name)
    return path if os.path.isfile(path) else None


def kept_at(root: str, name: str) -> float:
    """When the one of that name was kept, in Unix time; 0.0 where there is none. Raises OSError."""
    path = find(root, name)
    return _whose(path)[2] if path else 0.0


def commit(root: str, written: str, name: str) -> None:
    """A pack that is written and on the disk takes its place, and that of an older one. Raises OSError."""
    os.rename(written, layout.compile_cache(root, name))
    disk.sync(layout.compile_caches(root))


def items(root: str) -> Iterator[Item]:
    """Each as the eviction sees it. What is no pack any more is of no workload, and goes when its time comes."""
    for name in sorted(os.listdir(layout.compile_caches(root))):
        with suppress(FileNotFoundError):
            status = os.lstat(f"{layout.compile_caches(root)}/{name}")
            namespace, key, created = _whose(f"{layout.compile_caches(root)}/{name}")
            yield Item(
                id=f"{PREFIX}{name}",
                bytes=status.st_blocks * _BLOCK,
                created=created,
                last_used=status.st_mtime,
                workload=(namespace, f"{PREFIX}{key}") if key else None,
            )


def _whose(path: str) -> tuple[str, str, float]:
    try:
        descriptor = pack.open_pack(path)
        try:
            header = pack.read_header(descriptor)
        finally:
            os.close(descriptor)
    except CacheError:
        return "", "", 0.0
    created = header.get("created")
    return (
        str(header.get("namespace")),
        str(header.get("key")),
        created if isinstance(created, float) else 0.0,
    )


def evict(root: str, item_id: str) -> str | None:
    """Where in the trash it is now; None where it went before. Take the store's lock first. Raises OSError."""
    path = f"{layout.compile_caches(root)}/{item_id.removeprefix(PREFIX)}"
    return sweep.to_trash(root, path) if os.path.lexists(path) else None
