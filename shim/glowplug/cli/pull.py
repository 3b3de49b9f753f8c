"""`glowplug pull`: a checkpoint out of the registry into this node's cache."""

from dataclasses import asdict

import click

from glowplug.cli import options, registry_rows, resolve_id, screen
from glowplug.cli.root import require_root


@click.command()
@click.option("--namespace", "-n", required=True, metavar="NS", help="The checkpoint's Kubernetes namespace.")
@click.option("--any-host", is_flag=True, help="Pull also what this node can't restore.")
@options.as_json
@options.config
@click.argument("references", metavar="REF…", nargs=-1, required=True)
def pull(
    namespace: str, any_host: bool, as_json: bool, path: str | None, references: tuple[str, ...]
) -> None:
    """Pull checkpoints: REF is the start of a checkpoint's id, a tag, or a digest.

    A checkpoint is accepted only if a key that this node trusts for the namespace signed it, and never an older one
    than the node has seen.
    """
    from glowplug.config import load
    from glowplug.registry import heap, look
    from glowplug.registry import pull as pulls

    require_root("checkpoints contain the memory of processes")
    heap.keep_large_blocks()
    config = load(path)
    store = resolve_id.store(config)
    done = []
    with registry_rows.repository(config, namespace) as (registry, repository):
        for reference in references:
            tag = registry_rows.tag(repository, reference)
            found = look.by_tag(repository, registry, config.cache, namespace, tag)
            if not any_host:
                look.require_fit(found, registry_rows.this_node(config))
            result = pulls.pull(store, repository, registry, found)
            done.append(asdict(result))
            if not as_json:
                screen.line(
                    f"{result.checkpoint} was there"
                    if result.was_there
                    else f"pulled {result.checkpoint}: {screen.size(result.content)}, {screen.size(result.fetched)} "
                    f"fetched, {screen.seconds(result.seconds)}"
                )
    if as_json:
        screen.as_json(done)
