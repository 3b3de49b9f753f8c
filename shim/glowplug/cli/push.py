"""`glowplug push`: checkpoints into the registry."""

from dataclasses import asdict

import click

from glowplug.cli import options, registry_rows, resolve_id, screen
from glowplug.cli.root import require_root
from glowplug.errors import UsageError


@click.command()
@click.option(
    "--plain",
    is_flag=True,
    help="Without encryption: anyone who can read the registry can read the memory of the process, with its secrets.",
)
@click.option(
    "--label", "labels", metavar="NAME=VALUE", multiple=True, help="For `glowplug warm`; several times."
)
@options.as_json
@options.config
@options.checkpoints
def push(
    plain: bool, labels: tuple[str, ...], as_json: bool, path: str | None, prefixes: tuple[str, ...]
) -> None:
    """Push checkpoints into their namespaces' repositories, signed and encrypted. What is there is not sent again."""
    from glowplug.cache import facts
    from glowplug.config import load
    from glowplug.registry import heap
    from glowplug.registry import push as pushes

    require_root("checkpoints contain the memory of processes")
    heap.keep_large_blocks()
    config = load(path)
    store = resolve_id.store(config)
    said = dict(_pair(label) for label in labels)
    done = []
    for checkpoint in resolve_id.several(store, prefixes):
        namespace = facts.namespace(facts.parse(store.manifest(checkpoint))) or ""
        with registry_rows.repository(config, namespace) as (registry, repository):
            unencrypted = plain or registry.plain
            result = pushes.push(store, repository, registry, checkpoint, plain=unencrypted, labels=said)
        done.append(asdict(result))
        if not as_json:
            place = f"{config.registry.host}/{repository.path}@{result.digest}"
            screen.line(
                f"{checkpoint} was there: {place}"
                if result.was_there
                else f"pushed {checkpoint} to {place}: {screen.size(result.content)} in "
                f"{screen.size(result.stored)}, {screen.size(result.sent)} sent, {screen.seconds(result.seconds)}"
                + ("; NOT ENCRYPTED" if unencrypted else "")
            )
    if as_json:
        screen.as_json(done)


def _pair(label: str) -> tuple[str, str]:
    name, equals, value = label.partition("=")
    if not name or not equals:
        raise UsageError(f"--label: expected NAME=VALUE, got {label!r}")
    return name, value
