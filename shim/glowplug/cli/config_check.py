"""`glowplug config check`: every wrong key of a configuration, before an agent meets it."""

import click

from glowplug.cli import options, screen

WRONG = 2


@click.group()
def config() -> None:
    """Check the node's configuration file."""


@config.command()
@options.as_json
@click.argument("file", required=False)
def check(file: str | None, as_json: bool) -> None:
    """Read FILE (default: /etc/glowplug/config.toml) and report each wrong key on a line of its own.

    Nothing is changed, and no agent is needed. The exit status is 2 where a key is wrong.
    """
    from glowplug import config

    name, values = config.read(file)
    wrong = config.problems(values)
    if as_json:
        screen.as_json({"file": name, "keys": sorted(values), "problems": wrong})
    elif not wrong:
        screen.line(f"{name}: good; {len(values)} keys are set" if values else f"{name}: nothing is set")
    else:
        for problem in wrong:
            screen.line(f"{name}: {problem}")
    if wrong:
        raise SystemExit(WRONG)
