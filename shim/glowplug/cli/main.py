"""`glowplug`: one file per command. What a person did wrong ends with one line and status 2."""

import os
import sys

import click

from glowplug import __version__
from glowplug.cli.agent import agent
from glowplug.cli.capture import capture
from glowplug.cli.config_check import config
from glowplug.cli.copy import copy
from glowplug.cli.doctor import doctor
from glowplug.cli.explain import explain
from glowplug.cli.gc import gc
from glowplug.cli.history import history
from glowplug.cli.inspect import inspect
from glowplug.cli.list import list_checkpoints
from glowplug.cli.node import node
from glowplug.cli.pin import pin
from glowplug.cli.pull import pull
from glowplug.cli.push import push
from glowplug.cli.quarantine import quarantine
from glowplug.cli.registry import registry
from glowplug.cli.rm import rm
from glowplug.cli.status import status
from glowplug.cli.timeline import timeline
from glowplug.cli.top import top
from glowplug.cli.unpin import unpin
from glowplug.cli.verify import verify
from glowplug.cli.warm import warm
from glowplug.errors import GlowplugError, UsageError

EXIT_FAILED = 1
EXIT_USAGE = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="glowplug")
def commands() -> None:
    """Pods that start from a checkpoint."""


for command in (
    agent,
    capture,
    config,
    copy,
    doctor,
    explain,
    gc,
    history,
    inspect,
    list_checkpoints,
    node,
    pin,
    pull,
    push,
    quarantine,
    registry,
    rm,
    status,
    timeline,
    top,
    unpin,
    verify,
    warm,
):
    commands.add_command(command)


def main() -> None:
    """The console script."""
    try:
        commands.main(standalone_mode=False)
    except click.exceptions.Abort:
        _end("interrupted", EXIT_FAILED)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(EXIT_USAGE)
    except click.ClickException as error:
        _end(_with_hint(error), EXIT_USAGE)
    except UsageError as error:
        _end(str(error), EXIT_USAGE)
    except GlowplugError as error:
        _end(str(error), EXIT_FAILED)
    except OSError as error:
        # Python would try to write once more what it could not write now.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(EXIT_FAILED)
        _end(str(error), EXIT_FAILED)


def _with_hint(error: click.ClickException) -> str:
    text = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{text}; see `{context.command_path} --help`" if context else text


def _end(message: str, status: int) -> None:
    one_line = " ".join(message.split())
    click.echo(f"glowplug: {one_line}", err=True)
    sys.exit(status)
