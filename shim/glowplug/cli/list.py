"""`glowplug list`: the checkpoints of this node."""

from dataclasses import asdict

import click

from glowplug.cache.store import Store
from glowplug.cache.summary import Row
from glowplug.checkpoint import manifest as manifests
from glowplug.checkpoint.manifest import Manifest
from glowplug.cli import options, resolve_id, screen
from glowplug.cli.root import require_root
from glowplug.errors import CacheError, ManifestError

COLUMNS = ("id", "namespace", "pod/container", "age", "used", "size", "state")


@click.command("list")
@options.namespace
@options.as_json
@options.config
def list_checkpoints(namespace: str | None, as_json: bool, path: str | None) -> None:
    """List the checkpoints of this node, newest first."""
    from glowplug.config import load

    require_root("checkpoints contain the memory of processes")
    store = resolve_id.store(load(path))
    found = [(row, *manifest(store, row.id)) for row in store.rows() if namespace in (None, row.namespace)]
    if as_json:
        screen.as_json([_plain(*one) for one in found])
        return
    if not found:
        screen.line(f"no checkpoints in {store.root}" + (f" of namespace {namespace}" if namespace else ""))
        return
    screen.table(
        COLUMNS,
        (_cells(row, kept) for row, kept, _ in found),
        right=("age", "used", "size"),
        fold=("namespace", "pod/container", "state"),
    )


def manifest(store: Store, checkpoint: str) -> tuple[Manifest | None, str | None]:
    """The manifest; or None and why: damaged, gone meanwhile, or of a newer version, so that it serves nobody here."""
    try:
        return manifests.loads(store.manifest(checkpoint)), None
    except (CacheError, ManifestError) as error:
        return None, str(error)


def state(row: Row, kept: Manifest | None) -> str:
    """What holds of a checkpoint besides its being there. `kept`: its manifest, where this version reads it."""
    marks = (
        (kept is None, "unreadable"),
        (row.quarantine is not None, "quarantined"),
        (row.pinned, "pinned"),
        (row.in_use, "in use"),
        (row.shared, "shared"),
    )
    return ", ".join(mark for holds, mark in marks if holds) or "ready"


def _cells(row: Row, kept: Manifest | None) -> tuple[str, ...]:
    return (
        screen.short(row.id),
        row.namespace or "?",
        f"{kept.pod}/{kept.container}" if kept else "?",
        screen.age(row.created),
        screen.age(row.last_used),
        screen.size(row.bytes),
        state(row, kept),
    )


def _plain(row: Row, kept: Manifest | None, unreadable: str | None) -> dict[str, object]:
    return {
        **asdict(row),
        "unreadable": unreadable,
        "pod": kept.pod if kept else None,
        "container": kept.container if kept else None,
        "image_name": kept.image_name if kept else None,
    }
