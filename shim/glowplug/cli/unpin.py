"""`glowplug unpin`: let checkpoints be evicted again."""

import click

from glowplug.cli import options, resolve_id, screen
from glowplug.cli.root import require_root


@click.command()
@options.config
@options.checkpoints
def unpin(path: str | None, prefixes: tuple[str, ...]) -> None:
    """Unpin checkpoints: the cache's limits may remove them again."""
    from glowplug.config import load

    require_root("checkpoints are root's")
    store = resolve_id.store(load(path))
    for checkpoint in resolve_id.several(store, prefixes):
        store.unpin(checkpoint)
        screen.line(f"unpinned {checkpoint}")
