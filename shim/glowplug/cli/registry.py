"""`glowplug registry`: what the registry holds, and what goes."""

from dataclasses import asdict

import click

from glowplug.cli import options, registry_rows, screen

COLUMNS = ("id", "pushed", "size", "newest", "workload", "hosts")
_DAY_S = 86_400


@click.group()
def registry() -> None:
    """List and remove checkpoints in the registry."""


def _namespace(command: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--namespace", "-n", required=True, metavar="NS", help="Of this Kubernetes namespace."
    )(command)


@registry.command("ls")
@_namespace
@options.as_json
@options.config
def ls(namespace: str, as_json: bool, path: str | None) -> None:
    """List the checkpoints of a namespace, newest first, by their manifests."""
    from glowplug.config import load
    from glowplug.registry import retention

    with registry_rows.repository(load(path), namespace) as (_, repository):
        found = retention.rows(repository)
    if as_json:
        screen.as_json([asdict(row) for row in found])
        return
    if not found:
        screen.line(f"no checkpoints of namespace {namespace} in {repository.path}")
        return
    screen.table(
        COLUMNS,
        (
            (
                screen.short(row.checkpoint),
                screen.age(row.pushed),
                screen.size(row.bytes),
                "yes" if row.is_newest else "",
                row.key[:12],
                row.host_class,
            )
            for row in found
        ),
        right=("pushed", "size"),
    )


@registry.command("rm")
@_namespace
@options.config
@click.argument("references", metavar="REF…", nargs=-1, required=True)
def rm(namespace: str, path: str | None, references: tuple[str, ...]) -> None:
    """Remove checkpoints with their signatures. REF is the start of an id, a tag, or a digest.

    The blobs go with the registry's own garbage collection.
    """
    from glowplug.config import load
    from glowplug.registry import names, retention

    with registry_rows.repository(load(path), namespace) as (_, repository):
        for tag in [registry_rows.tag(repository, reference) for reference in references]:
            data = repository.manifest(tag)
            if data is not None:
                retention.remove(repository, names.digest(data))
            screen.line(f"removed {repository.path}:{tag}")


@registry.command("gc")
@_namespace
@click.option(
    "--keep",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="Of each workload and class of hosts.",
)
@click.option(
    "--older-than", type=click.FloatRange(0), metavar="DAYS", help="Also what was pushed longer ago."
)
@click.option("--all", "everything", is_flag=True, help="All of it: the namespace has ended.")
@click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@options.config
def gc(
    namespace: str, keep: int, older_than: float | None, everything: bool, dry_run: bool, path: str | None
) -> None:
    """Remove checkpoints that newer ones of the same workload replace, and signatures without a checkpoint."""
    from glowplug.config import load
    from glowplug.registry import retention

    verb = "would remove" if dry_run else "removed"
    with registry_rows.repository(load(path), namespace) as (_, repository):
        older_than_s = None if older_than is None else older_than * _DAY_S
        going = retention.plan(
            retention.rows(repository), keep=keep, older_than_s=older_than_s, everything=everything
        )
        for row, why in going:
            if not dry_run:
                retention.remove(repository, row.digest)
            screen.line(f"{verb} {row.checkpoint}: {why}")
        for tag in retention.orphans(repository):
            if not dry_run:
                retention.remove_tag(repository, tag)
            screen.line(f"{verb} {tag}: what it signs is gone")
    if not going:
        screen.line(f"{verb} no checkpoint of namespace {namespace}")
