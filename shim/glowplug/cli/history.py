"""`glowplug history`: the outcome of every start on this node, and of every capture."""

from dataclasses import asdict

import click

from glowplug.cli import captures, options, screen
from glowplug.cli.root import require_root
from glowplug.errors import CacheError
from glowplug.outcomes import starts
from glowplug.outcomes.record import Record
from glowplug.outcomes.starts import Start

COLUMNS = ("time", "pod/container", "outcome", "took", "checkpoint")
LIMIT = 50


@click.command()
@options.namespace
@click.option(
    "--limit",
    default=LIMIT,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="The last N.",
)
@click.option(
    "--detail", is_flag=True, help="The reason in words; the hook after a restore; how long it ran."
)
@click.option("--captures", "of_captures", is_flag=True, help="Captures in the place of starts.")
@options.as_json
@options.config
@click.argument("pod", required=False)
def history(
    namespace: str | None,
    limit: int,
    detail: bool,
    of_captures: bool,
    as_json: bool,
    path: str | None,
    pod: str | None,
) -> None:
    """List the outcome of every start, latest last: restored, cold:REASON or fallback:STAGE.

    Or, with --captures, of every capture: captured, refused, failed or not-needed.
    """
    from glowplug.config import load

    require_root("the history is root's")
    config = load(path)
    if of_captures:
        captured = captures.of(records(config.cache), namespace, pod)[-limit:]
        if captured or as_json:
            _show_captures(captured, as_json)
        else:
            screen.line(f"no capture{_of(namespace, pod)} is on record in {config.cache}")
        return
    found = [
        start
        for start in read(config.cache)
        if namespace in (None, start.namespace) and pod in (None, start.pod)
    ][-limit:]
    if as_json:
        screen.as_json([asdict(start) for start in found])
    elif not found:
        screen.line(f"no start{_of(namespace, pod)} is on record in {config.cache}")
    else:
        rows = [_cells(start) for start in found]
        if detail:
            _show_details(found, rows)
        else:
            screen.table(COLUMNS, rows, right=("took",), fold=("pod/container",))


def read(cache: str) -> list[Start]:
    """All starts on record, the oldest first. Raises CacheError."""
    return starts.of(records(cache))


def records(cache: str) -> list[Record]:
    """All that is on record, captures too, the oldest first. Raises CacheError."""
    from glowplug.outcomes import history as kept

    try:
        return kept.read(cache)
    except OSError as error:
        raise CacheError(f"the history in {cache} can't be read: {error.strerror}") from error


def _show_captures(found: list[Record], as_json: bool) -> None:
    if as_json:
        screen.as_json(found)
    else:
        captures.show(found)


def _of(namespace: str | None, pod: str | None) -> str:
    return "".join(
        f" {word} {name}" for word, name in (("of namespace", namespace), ("of pod", pod)) if name is not None
    )


def _show_details(found: list[Start], rows: list[tuple[str, ...]]) -> None:
    """A line for each start, and below it what is known besides."""
    for start, cells in zip(found, rows, strict=True):
        screen.line("  ".join(cell for cell in cells if cell))
        hook = f"after-restore {start.hook}" if start.hook else ""
        ran = f"ran {screen.seconds(start.ran_s)}" if start.ran_s is not None else ""
        compiled = f"compile cache {start.compile_cache}" if start.compile_cache else ""
        for known in filter(None, (start.detail, compiled, hook, ran)):
            screen.line(f"    {known}")


def _cells(start: Start) -> tuple[str, ...]:
    return (
        screen.clock(start.time)[5:],
        "/".join((start.namespace, start.pod, start.container)) if start.pod else start.container_id[:12],
        start.outcome,
        screen.seconds(start.total_s),
        screen.short(start.checkpoint),
    )
