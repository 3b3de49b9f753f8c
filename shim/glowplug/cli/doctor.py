"""`glowplug doctor`: whether this node can restore, fact by fact, and what fixes what is not as it should be."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from glowplug.cli import options, screen
from glowplug.cli.root import require_root

if TYPE_CHECKING:
    from rich.console import RenderableType

    from glowplug.node.doctor.checks import Checked
    from glowplug.node.doctor.finding import Level

MARKS: "dict[Level, tuple[str, str]]" = {
    "ok": ("✓", "green"),
    "warning": ("!", "bold yellow"),
    "wrong": ("✗", "bold red"),
}
"""On a terminal: what stands before a check, and how."""

NAME_COLUMNS = 22


@click.command()
@options.as_json
@options.config
def doctor(as_json: bool, path: str | None) -> None:
    """Check everything that captures and restores need on this node. The exit status is 1 if something is wrong."""
    from glowplug.config import load
    from glowplug.node.doctor import checks

    require_root("it tries what only root may")
    running = checks.run(load(path))
    found = list(running) if as_json else list(_shown(running))
    ready = checks.is_ready(found)
    if as_json:
        listed = [{"name": one.name, **asdict(one.finding)} for one in found]
        screen.as_json({"ready": ready, "checks": listed})
    else:
        _show_sum(ready, found)
    if not ready:
        raise SystemExit(1)


def _shown(running: "Iterable[Checked]") -> "Iterable[Checked]":
    """Each check is shown as soon as it is done: some take seconds."""
    out = screen.console()
    for one in running:
        if out.is_terminal:
            out.print(_row(one))
        else:
            screen.line(_line(one))
        yield one


def _line(one: "Checked") -> str:
    """In a pipe: level, name, what was found, what is expected, and how to fix it."""
    finding = one.finding
    more = (("want", finding.want), ("fix", finding.fix))
    said = "; ".join([finding.found, *(f"{name}: {text}" for name, text in more if text)])
    return f"{finding.level:8} {one.name:{NAME_COLUMNS}} {said}"


def _row(one: "Checked") -> "RenderableType":
    """On a terminal: beneath what is not well stands what is expected, and what to do."""
    from rich.table import Table
    from rich.text import Text

    finding = one.finding
    mark, style = MARKS[finding.level]
    row = Table.grid(padding=(0, 1))
    row.add_column(width=1)
    row.add_column(width=NAME_COLUMNS)
    row.add_column(overflow="fold")
    row.add_row(Text(mark, style), Text(one.name), Text(screen.plain(finding.found)))
    for name, text, shade in (("want", finding.want, ""), ("fix", finding.fix, "bold")):
        if text:
            row.add_row("", Text(f"  {name}", "dim"), Text(screen.plain(text), shade))
    return row


def _show_sum(ready: bool, found: "list[Checked]") -> None:
    from rich.text import Text

    levels = [one.finding.level for one in found]
    counts = [f"{levels.count(level)} {level}" for level in MARKS if level in levels]
    word, style = ("ready", "bold green") if ready else ("not ready", "bold red")
    out = screen.console()
    if out.is_terminal:
        out.print(Text.assemble("\n", (word, style), f": {', '.join(counts)}"))
    else:
        screen.line(f"{word}: {', '.join(counts)}")
