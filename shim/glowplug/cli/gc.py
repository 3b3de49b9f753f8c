"""`glowplug gc`: remove what is over the cache's limits."""

import click

from glowplug.cache.compile_caches import is_compile_cache
from glowplug.cache.evict import Eviction
from glowplug.cli import options, resolve_id, screen
from glowplug.cli.root import require_root


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@options.as_json
@options.config
def gc(dry_run: bool, as_json: bool, path: str | None) -> None:
    """Remove checkpoints and compile caches (compile/ID) that exceed the cache's limits, least recently used first.

    Pinned checkpoints and those in use stay.
    """
    from glowplug.config import load

    require_root("checkpoints are root's")
    store = resolve_id.store(load(path))
    evictions = store.gc(dry_run=dry_run)
    if as_json:
        screen.as_json([{"checkpoint": id, "why": why, "bytes": count} for id, why, count in evictions])
        return
    verb = "would remove" if dry_run else "removed"
    for checkpoint, why, count in evictions:
        screen.line(f"{verb} {checkpoint}, {screen.size(count)}: {why}")
    freed = screen.size(sum(count for _, _, count in evictions))
    screen.line(
        f"{verb} {_counted(evictions)}, {freed}" if evictions else f"{verb} nothing: within the limits"
    )


def _counted(evictions: list[Eviction]) -> str:
    caches = sum(is_compile_cache(id) for id, _, _ in evictions)
    both = ((len(evictions) - caches, "checkpoints"), (caches, "compile caches"))
    return " and ".join(f"{count} {what}" for count, what in both if count)
