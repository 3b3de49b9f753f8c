"""Options that many commands have, spelled once."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def config(command: Command) -> Command:
    """`--config FILE`, as `path`."""
    return click.option(
        "--config", "path", metavar="FILE", help="Configuration; default /etc/glowplug/config.toml."
    )(command)


def as_json(command: Command) -> Command:
    """`--json`, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="JSON on standard output, nothing else.")(
        command
    )


def namespace(command: Command) -> Command:
    """`--namespace NS`, as `namespace`; None: all."""
    return click.option(
        "--namespace", "-n", metavar="NS", help="Of this Kubernetes namespace; default: of all."
    )(command)


def checkpoint(command: Command) -> Command:
    """One checkpoint's id or the start of it, as `prefix`."""
    return click.argument("prefix", metavar="ID")(command)


def checkpoints(command: Command) -> Command:
    """One or more, as `prefixes`."""
    return click.argument("prefixes", metavar="ID…", nargs=-1, required=True)(command)
