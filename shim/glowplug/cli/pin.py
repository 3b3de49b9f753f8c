"""`glowplug pin`: keep checkpoints from being evicted."""

import click

from glowplug.cli import opened, options, screen
from glowplug.cli.root import require_root


@click.command()
@options.config
@options.checkpoints
def pin(path: str | None, prefixes: tuple[str, ...]) -> None:
    """Keep checkpoints: the limits of the cache no longer remove them. `glowplug rm` still does."""
    from glowplug import config

    require_root("checkpoints are root's")
    store = opened.store(config.load(path))
    for checkpoint in opened.several(store, prefixes):
        store.pin(checkpoint)
        screen.line(f"pinned {checkpoint}")
