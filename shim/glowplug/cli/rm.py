"""`glowplug rm`: remove checkpoints."""

import click

from glowplug.cli import options, resolve_id, screen
from glowplug.cli.root import require_root
from glowplug.errors import CacheError


@click.command()
@options.config
@options.checkpoints
def rm(path: str | None, prefixes: tuple[str, ...]) -> None:
    """Remove checkpoints, pinned ones too. One in use is kept; the exit status is 1 then."""
    from glowplug.config import load

    require_root("checkpoints are root's")
    store = resolve_id.store(load(path))
    failed: list[str] = []
    for checkpoint in resolve_id.several(store, prefixes):
        freed = store.size(checkpoint)
        try:
            store.remove(checkpoint)
        except CacheError as error:
            failed.append(str(error))
        else:
            screen.line(f"removed {checkpoint}, {screen.size(freed)}")
    if failed:
        raise CacheError("; ".join(failed))
