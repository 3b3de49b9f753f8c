"""`glowplug copy`: checkpoints from one registry into another."""

from contextlib import ExitStack
from dataclasses import replace

import click

from glowplug.cli import options, registry_rows, screen


@click.command()
@click.option("--namespace", "-n", required=True, metavar="NS", help="The checkpoints' Kubernetes namespace.")
@click.option("--to", "target", required=True, metavar="HOST/PATH", help="The repository to copy into.")
@click.option(
    "--to-tls/--to-no-tls", default=True, help="Whether the other registry has TLS; default: it has."
)
@options.config
@click.argument("references", metavar="REF…", nargs=-1, required=True)
def copy(namespace: str, target: str, to_tls: bool, path: str | None, references: tuple[str, ...]) -> None:
    """Copy checkpoints into another repository as they are: signed by the same key, for the same recipients.

    REF is the start of a checkpoint's id, a tag, or a digest. Only checkpoints that this node would accept are copied.
    """
    from glowplug.config import load
    from glowplug.errors import UsageError
    from glowplug.registry import copying, look
    from glowplug.registry import opened as registries
    from glowplug.registry import settings as registry_settings

    config = load(path)
    for problem in registry_settings.problems({"repository": target}):
        raise UsageError(f"--to: {problem.partition(': ')[2]}")
    with ExitStack() as stack:
        registry, source = stack.enter_context(registry_rows.repository(config, namespace))
        other = replace(registry, repository=target, tls=to_tls, mirrors=(), peers=())
        into = stack.enter_context(registries.repository(other, namespace))
        for reference in references:
            tag = registry_rows.tag(source, reference)
            found = look.by_tag(source, registry, config.cache, namespace, tag)
            sent = copying.copy(source, into, found, registry.parallel)
            screen.line(f"copied {found.config.checkpoint} to {target}/{namespace}: {screen.size(sent)} sent")
