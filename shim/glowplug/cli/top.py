"""`glowplug top`: starts, what is under way, and the cache, as they change."""

import sys
import time

import click

from glowplug.cli import options, screen
from glowplug.cli.root import require_root


@click.command()
@click.option("--once", is_flag=True, help="One picture, and the end; in a pipe always.")
@click.option(
    "--interval",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.2, 60),
    metavar="SECONDS",
    help="Between two pictures.",
)
@options.config
def top(once: bool, interval: float, path: str | None) -> None:
    """Starts, captures and restores under way, and the cache, live. Ctrl-C ends it."""
    from glowplug import config
    from glowplug.cli import top_frame

    require_root("checkpoints and the history are root's")
    view = top_frame.View(config.load(path))
    out = screen.console()
    if once or not sys.stdout.isatty():
        view.print_once(out)
        return
    from rich.live import Live

    try:
        with Live(view.frame(out.height), console=out, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(interval)
                live.update(view.frame(out.height), refresh=True)
    except KeyboardInterrupt:
        return
