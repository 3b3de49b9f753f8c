"""`glowplug`: one file per command. What a person did wrong ends with one line and status 2."""

import importlib
import os
import sys

import click

from glowplug import __version__
from glowplug.errors import GlowplugError, UsageError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
"""As a shell has it of a program that SIGINT ended."""


_FILES = (
    "agent",
    "capture",
    "copy",
    "doctor",
    "explain",
    "gc",
    "history",
    "inspect",
    "node",
    "pin",
    "pull",
    "push",
    "quarantine",
    "registry",
    "rm",
    "status",
    "timeline",
    "top",
    "unpin",
    "verify",
    "warm",
)
COMMANDS = {name: name for name in _FILES} | {"config": "config_check", "list": "list"}
"""Each command's file; its function there has the command's name."""

_FUNCTIONS = {"list": "list_checkpoints"}


class _Commands(click.Group):
    """Imports the command that is called, and no other: together they take longer than most of them work."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"glowplug.cli.{COMMANDS[cmd_name]}")
        found = getattr(module, _FUNCTIONS.get(cmd_name, cmd_name))
        assert isinstance(found, click.Command)
        return found


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="glowplug")
def commands() -> None:
    """Pods that start from a checkpoint."""


def main() -> None:
    """The console script."""
    try:
        commands.main(standalone_mode=False)
    except click.exceptions.Abort:
        _end("interrupted", EXIT_INTERRUPTED)
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
    """One line; what a name in it has of control characters is escaped, since a terminal would obey them."""
    line = " ".join(message.split())
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)
    click.echo(f"glowplug: {shown}", err=True)
    sys.exit(status)
