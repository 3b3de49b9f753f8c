"""`glowplug agent`: the node daemon, in the foreground."""

import click

from glowplug.cli.root import require_root


@click.command()
@click.option("--config", "path", metavar="FILE", help="Configuration; default /etc/glowplug/config.toml.")
def agent(path: str | None) -> None:
    """Run the node's agent: it chooses checkpoints for containers that start, captures, evicts and reports."""
    from glowplug.agent import main
    from glowplug.config import load

    require_root("the agent reads checkpoints and containers")
    main.run(load(path))
