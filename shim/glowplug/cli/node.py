"""`glowplug node`: the handler `glowplug` on this node."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

import click

from glowplug.cli import options, screen
from glowplug.cli.root import require_root
from glowplug.containerd import installed
from glowplug.errors import NodeError
from glowplug.node import found as containerds
from glowplug.node.install import CONFIG, PREFIX, Place
from glowplug.node.verify import ANSWERS_WITHIN_S

Command = TypeVar("Command", bound=Callable[..., Any])

_PLACE = (
    click.option(
        "--containerd-config",
        "config",
        metavar="FILE",
        help=f"Default: that of the containerd that runs, {CONFIG} where none does.",
    ),
    click.option("--containerd", metavar="PROGRAM", help="Default: the one that runs, or the one in PATH."),
    click.option("--socket", metavar="PATH", help="containerd's; default: as its configuration says."),
    click.option("--prefix", metavar="DIR", default=PREFIX, help=f"Where Glowplug is; default {PREFIX}."),
    click.option(
        "--handler", metavar="NAME", default="glowplug", help="Name of the handler; default glowplug."
    ),
)
_RESTART = (
    click.option(
        "--restart-command", metavar="COMMAND", help="Restarts containerd; default: systemd's unit."
    ),
    click.option("--no-restart", is_flag=True, help="Leave containerd running as it is: for image builds."),
    click.option(
        "--wait",
        "wait_s",
        metavar="SECONDS",
        type=click.FloatRange(1, 600),
        default=ANSWERS_WITHIN_S,
        help=f"For containerd after a restart; default {ANSWERS_WITHIN_S:g}.",
    ),
)
_BUILT_ON = (
    click.option("--runtime", metavar="PROGRAM", help="Default PREFIX/bin/glowplug-runtime."),
    click.option(
        "--base",
        metavar="HANDLER",
        help="The handler to build on; default: the one before, or containerd's default one.",
    ),
)


def _with(*chosen: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for option in reversed(chosen):
            command = option(command)
        return command

    return add


def _chosen(config: str | None, containerd: str | None, socket: str | None, **rest: Any) -> Place:
    """As the options say, or as it was installed, or as it is found here. Raises NodeError."""
    before = installed.load(rest["prefix"], rest["handler"])
    found = containerds.chosen(config, containerd, socket, before)
    return Place(config=found.config, containerd=found.program, socket=found.socket, **rest)


@click.group()
def node() -> None:
    """Install, check, repair and remove containerd's runtime handler on this node."""


@node.command()
@_with(*_PLACE, *_RESTART, *_BUILT_ON)
@click.option(
    "--huge-shm",
    is_flag=True,
    help="Huge pages for shared memory (shmem_enabled = advise); uninstall puts it back.",
)
def install(runtime: str | None, base: str | None, huge_shm: bool, **place: Any) -> None:
    """Add the handler to containerd's configuration and restart containerd; undo everything if that fails."""
    from glowplug.node.install import built_on
    from glowplug.node.install import install as put

    require_root("containerd's configuration is root's")
    chosen = _chosen(**place)
    for line in put(chosen, *built_on(chosen, runtime, base)):
        screen.line(line)
    if huge_shm:
        from glowplug.node import huge_shm as huge

        for line in huge.turn_on(chosen.prefix):
            screen.line(line)


@node.command()
@click.option("--prefix", metavar="DIR", default=PREFIX, help=f"Where Glowplug is; default {PREFIX}.")
@click.option("--handler", metavar="NAME", default="glowplug", help="Name of the handler; default glowplug.")
@_RESTART[2]
def repair(prefix: str, handler: str, wait_s: float) -> None:
    """Restore the handler as it was installed, after another program rewrote containerd's configuration.

    The agent does this on its own within seconds.
    """
    from glowplug.node.install import repair as repaired

    require_root("containerd's configuration is root's")
    for line in repaired(prefix, handler, wait_s):
        screen.line(line)


@node.command()
@_with(*_PLACE, *_BUILT_ON)
@options.as_json
def status(as_json: bool, runtime: str | None, base: str | None, **place: Any) -> None:
    """Show whether the handler is installed and active. The exit status is 1 if it is not."""
    from glowplug.node.install import built_on
    from glowplug.node.state import state

    require_root("containerd's configuration is root's")
    chosen = _chosen(**place)
    found = state(chosen, *built_on(chosen, runtime, base))
    if as_json:
        screen.as_json(asdict(found))
    else:
        for name, text in (
            ("handler", f"{found.handler}, building on {found.base}"),
            ("configured", found.where if found.installed else "no"),
            ("program", found.program),
            ("active", "yes" if found.containerd == found.program else "no"),
            ("pods", "unknown" if found.pods is None else str(len(found.pods))),
        ):
            screen.line(f"{name + ':':12} {text}")
        for text in found.errors:
            screen.line(f"error: {text}")
    if found.errors:
        raise SystemExit(1)


@node.command()
@_with(*_PLACE, *_RESTART)
@click.option("--force", is_flag=True, help="Although pods of the handler run; they continue.")
@click.option("--purge", is_flag=True, help="Remove the checkpoints, the settings and the prefix too.")
def uninstall(force: bool, purge: bool, **place: Any) -> None:
    """Remove the handler; containerd's configuration is restored to its original bytes."""
    from glowplug import config
    from glowplug.node import huge_shm
    from glowplug.node import purge as purged
    from glowplug.node.uninstall import uninstall as taken_out

    require_root("containerd's configuration is root's")
    chosen = _chosen(**place)
    kept = config.load() if purge else None
    if purge:
        purged.require_no_agent()
        purged.require_no_other(chosen)
    lines, unused = taken_out(chosen, force=force)
    for line in [*lines, *huge_shm.put_back(chosen.prefix)]:
        screen.line(line)
    if unused:
        _unlabel()
    else:
        screen.line(_LABELS_STAY)
    if kept is None:
        return
    if not unused:
        raise NodeError("can't purge: pods of the handler may run, which need it: end them first")
    for line in purged.purge(kept.cache, chosen.prefix):
        screen.line(line)


_LABELS_STAY = (
    "pods of the handler run on, so labels of the node in Kubernetes stay: without them, a kubelet that restarts would "
    "end these pods. Keep new ones away (kubectl cordon), and run this again when they have ended"
)


def _unlabel() -> None:
    """The node has the handler no more: nothing of ours says so of it in Kubernetes."""
    from glowplug import config
    from glowplug.apiserver import this_node
    from glowplug.errors import GlowplugError

    try:
        removed = this_node.unlabel(config.load())
    except GlowplugError as error:
        screen.line(f"the node's labels in Kubernetes stay, remove glowplug.dev/handler by hand: {error}")
    else:
        if removed:
            screen.line(f"removed {removed} labels of the node in Kubernetes")


@node.command()
@click.argument("name", required=False)
@click.option("--handler", metavar="NAME", default="glowplug", help="Name of the handler; default glowplug.")
@click.option("--prefix", metavar="DIR", default=PREFIX, help=f"Where Glowplug is; default {PREFIX}.")
def render(name: str | None, handler: str, prefix: str) -> None:
    """Print a configuration file as Glowplug would write it for a stock node; without NAME, list them."""
    from glowplug.node import handler as tables
    from glowplug.node import templates
    from glowplug.node.install import checked_prefix

    if name is None:
        for known in templates.names():
            screen.line(known)
        return
    values = tables.values(tables.checked_name(handler), f"{checked_prefix(prefix)}/bin/glowplug-runtime")
    click.echo(templates.fill(name, {**values, "prefix": prefix}), nl=False)
