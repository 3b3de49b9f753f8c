"""What commands print: tables and plain lines that fit a terminal of 80 columns, and a row per line in a pipe.

Everything that comes from a container (names, commands, reasons) goes through `plain`: no escape sequence of
its own reaches the terminal.
"""

import json
import re
import sys
import time
from collections.abc import Iterable, Sequence

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

SHORT_ID = 12
"""Hexadecimal digits of a checkpoint's id that tables show: any unique start of it is taken as input."""

_UNLIMITED = 100_000  # columns; in a pipe no line is folded
_FOLDED = 12  # columns; what is folded to fewer can't be read
_GAP = 3  # columns between two of a table, of which the style takes one
_DIGEST = re.compile(r"\b(sha256:[0-9a-f]{12})[0-9a-f]{52}\b")
_SIZES = ("B", "kB", "MB", "GB", "TB")
_TIMES = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def console() -> Console:
    """Standard output as it is now; no markup is read out of what is printed."""
    width = None if sys.stdout.isatty() else _UNLIMITED
    return Console(width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)


def line(text: str = "") -> None:
    """One line, as long as it is."""
    click.echo(plain(text))


def as_json(value: object) -> None:
    """One JSON document."""
    click.echo(json.dumps(value, indent=1))


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[str] = (),
    fold: Sequence[str] = (),
) -> None:
    """A table. Columns in `right` contain numbers; those in `fold` give way on a narrow terminal, so far that they
    can still be read: one that is narrower yet has to wrap the lines itself."""
    out = console()
    cells = [[plain(cell) for cell in row] for row in rows]
    style = box.SIMPLE_HEAD if out.is_terminal else None
    found = Table(box=style, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        found.add_column(
            name.upper(),
            justify="right" if name in right else "left",
            no_wrap=name not in fold,
            overflow="fold",
        )
    for row in cells:
        found.add_row(*map(Text, row))
    out.width = max(out.width, _least_width(columns, cells, fold))
    if out.is_terminal:
        out.print(found)
        return
    with out.capture() as captured:
        out.print(found)
    for text in captured.get().splitlines():
        click.echo(text.rstrip())


def _least_width(columns: Sequence[str], rows: Iterable[Sequence[str]], fold: Sequence[str]) -> int:
    widths = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
    kept = (
        min(width, _FOLDED) if name in fold else width for name, width in zip(columns, widths, strict=True)
    )
    return sum(kept) + _GAP * (len(columns) - 1)


def plain(text: str) -> str:
    """On one line, without control characters; image digests cut to what distinguishes them."""
    shown = "".join(char if char.isprintable() else _escaped(char) for char in text)
    return _DIGEST.sub(r"\1…", shown)


def _escaped(char: str) -> str:
    return " " if char in "\n\t" else char.encode("unicode_escape").decode("ascii")


def short(checkpoint: str | None) -> str:
    """A checkpoint's id as tables show it."""
    return (checkpoint or "")[:SHORT_ID]


def size(count: float) -> str:
    """Bytes: 812 B, 1.4 MB, 25.7 GB."""
    for unit in _SIZES[:-1]:
        if abs(count) < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} {_SIZES[-1]}"


def seconds(duration: object) -> str:
    """A duration: 12 ms, 4.31 s; empty where there is none."""
    if not isinstance(duration, int | float):
        return ""
    return f"{duration * 1000:.0f} ms" if duration < 1 else f"{duration:.2f} s"


def age(moment: float, now: float | None = None) -> str:
    """How long ago, in the largest unit: 3m, 5h, 2d."""
    past = max(0.0, (time.time() if now is None else now) - moment)
    for length, unit in _TIMES:
        if past >= length:
            return f"{past // length:.0f}{unit}"
    return "0s"


def clock(moment: object) -> str:
    """A moment in local time: 2026-03-01 14:02:11; empty for what is none."""
    if not isinstance(moment, int | float):
        return ""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    except (OSError, OverflowError, ValueError):  # beyond what the C library's calendar holds
        return ""
