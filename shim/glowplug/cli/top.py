"""`glowplug top`: starts, what is under way, and the cache, as they change."""

import math
import time

import click

from glowplug.cli import options, screen
from glowplug.cli.root import require_root
from glowplug.errors import UsageError


@click.command()
@click.option(
    "--once",
    is_flag=True,
    help="Print once and exit; always so in a pipe or on a write-only terminal.",
)
@click.option(
    "--interval",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.2, 60),
    metavar="SECONDS",
    help="Time between two updates.",
)
@options.config
def top(once: bool, interval: float, path: str | None) -> None:
    """Show starts, captures, restores under way and the cache, live. Ctrl-C ends it."""
    from glowplug.cli import top_frame
    from glowplug.config import load

    if math.isnan(interval):  # which no range leaves out
        raise UsageError("--interval: expected seconds, got nan")
    require_root("checkpoints and the history are root's")
    view = top_frame.View(load(path))
    out = screen.console()
    if once or not out.is_terminal or out.is_dumb_terminal:
        view.print_once(out)
        return
    from rich.live import Live

    try:
        with Live(view.frame(out), console=out, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(interval)
                live.update(view.frame(out), refresh=True)
    except KeyboardInterrupt:
        return
