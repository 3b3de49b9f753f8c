"""`glowplug warm`: pull ahead what pods of a namespace would need on this node."""

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import click

from glowplug.cli import options, registry_rows, resolve_id, screen
from glowplug.cli.root import require_root
from glowplug.errors import GlowplugError, RegistryError, RegistryMiss, UsageError

if TYPE_CHECKING:
    from glowplug.registry.config import Config as ArtifactConfig


@click.command()
@click.option("--namespace", "-n", required=True, metavar="NS", help="Of this Kubernetes namespace.")
@click.option(
    "--label", "labels", metavar="NAME=VALUE", multiple=True, help="Only with this label; several: with all."
)
@click.option(
    "--image", default="*", metavar="PATTERN", help="Only of images whose name fits, such as */vllm*:*."
)
@click.option("--container", default="*", metavar="PATTERN", help="Only of containers whose name fits.")
@click.option("--dry-run", is_flag=True, help="Say what would be pulled; pull nothing.")
@options.as_json
@options.config
def warm(
    namespace: str,
    labels: tuple[str, ...],
    image: str,
    container: str,
    dry_run: bool,
    as_json: bool,
    path: str | None,
) -> None:
    """Pull the newest checkpoint of each workload that this node can restore.

    For a Job or DaemonSet that prepares nodes (docs/registry.md). Checkpoints for other kinds of hosts and
    untrusted ones are reported and skipped; the exit status is 1 if something failed for another reason.
    """
    from glowplug.config import load
    from glowplug.registry import heap, look, names
    from glowplug.registry import pull as pulls

    require_root("checkpoints contain the memory of processes")
    heap.keep_large_blocks()
    config = load(path)
    store = resolve_id.store(config)
    wanted = dict(label.partition("=")[::2] for label in labels)
    if "" in wanted:
        raise UsageError("--label: expected NAME=VALUE")
    fits = registry_rows.this_node(config)
    said: list[dict[str, object]] = []
    failed = []
    with registry_rows.repository(config, namespace) as (registry, repository):
        for tag in filter(names.is_host_tag, list(repository.tags())):
            try:
                found = look.by_tag(repository, registry, config.cache, namespace, tag)
                if not _is_wanted(found.config, wanted, image, container):
                    continue
                look.require_fit(found, fits)
                if dry_run:
                    result = "would be pulled"
                else:
                    pulled = pulls.pull(store, repository, registry, found)
                    result = "was there" if pulled.was_there else "pulled"
                row: dict[str, object] = {"tag": tag, "checkpoint": found.config.checkpoint, "result": result}
            except RegistryMiss as error:
                row = {"tag": tag, "checkpoint": None, "result": error.slug, "detail": str(error)}
            except (
                GlowplugError
            ) as error:  # of one artifact: a disk that is full, a key that this node does not have
                failed.append(str(error))
                row = {"tag": tag, "checkpoint": None, "result": "failed", "detail": str(error)}
            said.append(row)
            if not as_json:
                screen.line(f"{row['checkpoint'] or tag}: {row.get('detail') or row['result']}")
    if as_json:
        screen.as_json(said)
    elif not said:
        screen.line(f"nothing of namespace {namespace} in the registry fits what was requested")
    if failed:
        raise RegistryError("; ".join(failed))


def _is_wanted(found: "ArtifactConfig", labels: dict[str, str], image: str, container: str) -> bool:
    return (
        labels.items() <= dict(found.labels).items()
        and fnmatchcase(found.image, image)
        and fnmatchcase(found.container, container)
    )
