"""`glowplug pin`: keep checkpoints from being evicted."""

import click

from glowplug.cli import options, resolve_id, screen
from glowplug.cli.root import require_root


@click.command()
@options.config
@options.checkpoints
def pin(path: str | None, prefixes: tuple[str, ...]) -> None:
    """Pin checkpoints: the cache's limits no longer remove them; `glowplug rm` still does."""
    from glowplug.config import load

    require_root("checkpoints are root's")
    store = resolve_id.store(load(path))
    for checkpoint in resolve_id.several(store, prefixes):
        store.pin(checkpoint)
        screen.line(f"pinned {checkpoint}")
