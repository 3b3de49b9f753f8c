"""`glowplug inspect`: what one checkpoint is, made of, and asks for. Names, never values that may be secret."""

from dataclasses import asdict

import click

from glowplug.cache.state import State
from glowplug.cache.summary import Row
from glowplug.checkpoint import explain
from glowplug.checkpoint.manifest import Manifest
from glowplug.cli import list as listing
from glowplug.cli import options, resolve_id, screen
from glowplug.cli.root import require_root

LONGEST = 300  # characters of a list in a table


@click.command()
@options.as_json
@options.config
@options.checkpoint
def inspect(as_json: bool, path: str | None, prefix: str) -> None:
    """Show one checkpoint: sizes, processes, when and where it was captured, its workload key and requirements."""
    from glowplug.config import load

    require_root("checkpoints contain the memory of processes")
    store = resolve_id.store(load(path))
    checkpoint = resolve_id.one(store, prefix)
    row = store.row(checkpoint)
    state = store.state(checkpoint)
    kept, unreadable = listing.manifest(store, checkpoint)
    if as_json:
        screen.as_json(_plain(row, state, kept, unreadable))
        return
    screen.line(f"checkpoint {row.id}")
    for name, text in _summary(row, state, kept, unreadable):
        screen.line(f"  {name + ':':15} {text}")
    if kept is None:
        return
    _section("size by part", ("part", "size"), _sizes(kept), right=("size",))
    _section("processes", ("pid", "parent", "command", "user", "seccomp", "cuda"), _processes(kept))
    _section("workload key", ("part", "value"), explain.key_rows(kept.key.parts), fold=("value",))
    _section(
        "requirements", ("fact", "needs"), explain.requirement_rows(kept.requirements), fold=("fact", "needs")
    )


def _section(
    title: str,
    columns: tuple[str, ...],
    rows: list[tuple[str, ...]] | list[tuple[str, str]],
    **how: tuple[str, ...],
) -> None:
    screen.line()
    screen.line(title)
    screen.table(columns, [tuple(map(_cut, row)) for row in rows], **how)


def _cut(text: str) -> str:
    """A list of dozens, CPU features say, as its beginning and how many there are."""
    items = text.split(", ")
    if len(text) <= LONGEST or len(items) == 1:
        return text
    kept = items[: max(1, text[:LONGEST].count(", "))]
    return f"{', '.join(kept)} and {len(items) - len(kept)} more: --json"


def _summary(row: Row, state: State, kept: Manifest | None, unreadable: str | None) -> list[tuple[str, str]]:
    found = [("state", listing.state(row, kept)), ("on disk", screen.size(row.bytes))]
    if unreadable is not None:
        found.append(("unreadable", unreadable))
    if row.quarantine is not None:
        until = (
            "until manually cleared"
            if row.quarantined_until is None
            else f"until {screen.clock(row.quarantined_until)}"
        )
        found.append(("quarantine", f"{row.quarantine} ({until}; failures in a row: {state.failures})"))
        found += [("", line) for line in (state.quarantine.log_tail if state.quarantine else ())]
    found += [("captured", screen.clock(row.created)), ("last used", screen.clock(row.last_used))]
    if kept is not None:
        found += [
            ("from", f"{kept.namespace}/{kept.pod}/{kept.container}"),
            ("on node", kept.node),
            ("image", kept.image_name),
            ("serves", f"namespace {kept.namespace}" + (", and those that accept it" if kept.shared else "")),
            ("key", kept.key.digest),
            *_measured(kept),
        ]
        found += [("setting", f"{name}: {value}") for name, value in sorted(kept.settings.items())]
    return found


def _measured(kept: Manifest) -> list[tuple[str, str]]:
    measured = kept.measured
    found = [
        ("cold start", screen.seconds(measured.cold_start_s)),
        ("pause", screen.seconds(measured.pause_s)),
    ]
    return [(name, text) for name, text in found if text]


def _sizes(kept: Manifest) -> list[tuple[str, str]]:
    sizes = kept.sizes
    parts = (
        ("CPU memory", sizes.cpu_memory),
        ("GPU memory", sizes.gpu_memory),
        ("writable layer", sizes.layer),
        ("/dev/shm", sizes.shm),
        ("CRIU's images", sizes.images),
    )
    return [
        *((name, screen.size(count)) for name, count in parts),
        ("all", screen.size(sum(n for _, n in parts))),
    ]


def _processes(kept: Manifest) -> list[tuple[str, ...]]:
    modes = {0: "off", 1: "strict", 2: "filter"}
    return [
        (
            str(process.pid),
            str(process.parent),
            process.comm,
            f"{process.uids[1]}:{process.gids[1]}",
            modes.get(process.seccomp, str(process.seccomp)),
            "yes" if process.cuda else "no",
        )
        for process in kept.processes
    ]


def _plain(row: Row, state: State, kept: Manifest | None, unreadable: str | None) -> dict[str, object]:
    found: dict[str, object] = {
        **asdict(row),
        "unreadable": unreadable,
        "failures": state.failures,
        "early_exits": state.early_exits,
        "log_tail": list(state.quarantine.log_tail) if state.quarantine else [],
    }
    if kept is None:
        return found
    return found | {
        "pod": kept.pod,
        "container": kept.container,
        "node": kept.node,
        "image_name": kept.image_name,
        "sizes": asdict(kept.sizes),
        "measured": asdict(kept.measured),
        "layer": asdict(kept.layer),
        "settings": dict(kept.settings),
        "processes": [asdict(process) for process in kept.processes],
        "key": dict(explain.key_rows(kept.key.parts)),
        "requirements": asdict(kept.requirements),
        "files": len(kept.files),
    }
