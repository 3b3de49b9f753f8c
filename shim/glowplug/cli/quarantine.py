"""`glowplug quarantine`: checkpoints that were quarantined after a failure of their own."""

import click

from glowplug.cache.summary import Row
from glowplug.cli import options, resolve_id, screen
from glowplug.cli.root import require_root

COLUMNS = ("id", "namespace", "until", "failures", "reason")


@click.group()
def quarantine() -> None:
    """List and clear quarantined checkpoints: no pod starts from one."""


@quarantine.command("list")
@options.as_json
@options.config
def list_quarantined(as_json: bool, path: str | None) -> None:
    """List quarantined checkpoints, until when and why."""
    from glowplug.config import load

    require_root("checkpoints are root's")
    store = resolve_id.store(load(path))
    rows = [(row, store.state(row.id)) for row in store.rows() if row.quarantine is not None]
    if as_json:
        screen.as_json(
            [
                {
                    "checkpoint": row.id,
                    "namespace": row.namespace,
                    "reason": row.quarantine,
                    "since": state.quarantine.since if state.quarantine else None,
                    "until": row.quarantined_until,
                    "failures": state.failures,
                    "log_tail": list(state.quarantine.log_tail) if state.quarantine else [],
                }
                for row, state in rows
            ]
        )
    elif not rows:
        screen.line("no checkpoint is quarantined")
    else:
        cells = ((*_cells(row), str(state.failures), row.quarantine or "") for row, state in rows)
        screen.table(COLUMNS, cells, right=("failures",), fold=("namespace", "reason"))


@quarantine.command()
@options.config
@options.checkpoints
def clear(path: str | None, prefixes: tuple[str, ...]) -> None:
    """Make quarantined checkpoints usable again and forget their failures."""
    from glowplug.config import load

    require_root("checkpoints are root's")
    store = resolve_id.store(load(path))
    for checkpoint in resolve_id.several(store, prefixes):
        store.clear_quarantine(checkpoint)
        # One whose state could not be read counts as pinned, and nobody pinned it.
        pinned = ", which is pinned" if store.state(checkpoint).pinned else ""
        screen.line(f"cleared {checkpoint}{pinned}")


def _cells(row: Row) -> tuple[str, str, str]:
    until = "manually cleared" if row.quarantined_until is None else screen.clock(row.quarantined_until)
    return screen.short(row.id), row.namespace or "?", until
