"""One picture of `glowplug top`: what it shows, read again for each, and how it is laid out."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import click
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from glowplug.cache import disk
from glowplug.cache.summary import Row
from glowplug.cli import bars, history, resolve_id, screen, status
from glowplug.cli.bars import Phase
from glowplug.cli.timeline_text import COLOURS
from glowplug.config import Config
from glowplug.outcomes import history as kept
from glowplug.outcomes import under_way
from glowplug.outcomes.starts import Start
from glowplug.outcomes.under_way import UnderWay

STARTS_IN_PIPE = 20
LINES_BESIDE = 7
"""Of a picture, besides its starts and what is under way."""
LINES_BUSY = 3
"""Around what is under way."""

NARROW = 72
"""Columns; with fewer there is no space for how long a start took, and how fast."""

RESTS = 4
"""Times as long as the history took to read, which a long one does: the display takes no CPU from the pods."""

BAR_COLUMNS = 30
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Now:
    """What is so at `time` (seconds since the epoch). `agent`: "answers", or what is wrong."""

    time: float
    agent: str
    starts: list[Start]
    under_way: list[UnderWay]
    rows: list[Row]
    free_bytes: int


class View:
    """The pictures of one node, one after another."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._store = resolve_id.store(config)
        self._version: object = None
        self._starts: list[Start] = []
        self._rests_until = 0.0

    def frame(self, out: Console) -> RenderableType:
        """A picture that fits into the terminal. Raises CacheError."""
        now = self._now()
        lines = max(1, out.height - LINES_BESIDE)
        busy = min(len(now.under_way), max(0, lines - LINES_BUSY) // 2)
        starts = lines - (busy + LINES_BUSY if busy else 0)
        return layout(now, self._config, starts, busy, narrow=out.width < NARROW)

    def print_once(self, out: Console) -> None:
        """One picture, below what is on the screen already; in a pipe plain text."""
        with out.capture() as captured:
            out.print(self.frame(out) if out.is_terminal else self._long())
        for line in captured.get().splitlines():
            click.echo(line.rstrip())

    def _long(self) -> RenderableType:
        now = self._now()
        return layout(now, self._config, STARTS_IN_PIPE, len(now.under_way))

    def _now(self) -> Now:
        version, began = kept.version(self._config.cache), time.monotonic()
        if version != self._version and began >= self._rests_until:
            self._version, self._starts = version, history.read(self._config.cache)
            ended = time.monotonic()
            self._rests_until = ended + RESTS * (ended - began)
        return Now(
            time=time.time(),
            agent=status.agent([]),
            starts=self._starts,
            under_way=under_way.read(),
            rows=self._store.rows(),
            free_bytes=disk.free(self._store.root),
        )


def layout(now: Now, config: Config, starts: int, busy: int, *, narrow: bool = False) -> Group:
    """Head, cache, so much of what is under way, so many of the latest starts, the last one first."""
    return Group(
        _head(now),
        _cache(now, config),
        Text(),
        *_under_way(now, busy, narrow=narrow),
        _starts(now, starts, narrow=narrow),
    )


def _head(now: Now) -> Text:
    text = Text(f"glowplug  {screen.clock(now.time)}  ", style="bold", no_wrap=True, overflow="ellipsis")
    text.append(f"agent {now.agent}", style="not bold green" if now.agent == "answers" else "bold red")
    kinds = Counter(start.outcome.partition(":")[0] for start in now.starts if start.time > now.time - DAY_S)
    text.append("\nstarts    last 24 hours:", style="not bold")
    for kind, colour in COLOURS.items():
        text.append(f" {kinds[kind]} {kind}", style=f"not bold {colour}")
    return text


def _cache(now: Now, config: Config) -> Text:
    used, limit = sum(row.bytes for row in now.rows), config.cache_limit_bytes
    filled = bars.bar(Phase("", 0.0, min(used, limit)), limit, BAR_COLUMNS, ascii_only=True) if used else ""
    marks = Counter(
        {
            "pinned": sum(row.pinned for row in now.rows),
            "quarantined": sum(row.quarantine is not None for row in now.rows),
            "in use": sum(row.in_use for row in now.rows),
        }
    )
    reported = "".join(f", {count} {mark}" for mark, count in marks.items() if count)
    return Text(
        f"cache     [{filled:{BAR_COLUMNS}}] {screen.size(used)} of {screen.size(limit)}, "
        f"{screen.size(now.free_bytes)} free\nholds     {len(now.rows)} checkpoints{reported}",
        no_wrap=True,
        overflow="ellipsis",
    )


def _under_way(now: Now, count: int, *, narrow: bool) -> list[RenderableType]:
    if not count:
        return []
    labels = {start.container_id: _label(start) for start in now.starts}
    table = _table(("under way", "container", "for", "memory")[: 3 if narrow else 4], right=("for",))
    for one in now.under_way[:count]:
        memory = " of ".join(map(screen.size, one.memory)) if one.memory else ""
        cells = (
            _cut(labels.get(one.container_id, one.container_id[:12])),
            screen.seconds(now.time - one.since),
        )
        table.add_row(one.kind, *cells, *([] if narrow else [memory]))
    more = len(now.under_way) - count
    return [table, Text(f"and {more} more" if more else "")]


def _starts(now: Now, count: int, *, narrow: bool) -> RenderableType:
    if not now.starts:
        return Text("no start is on record")
    columns = ("age", "container", "outcome", "took", "memory")
    table = _table(columns[: 3 if narrow else 5], right=("age", "took", "memory"))
    for start in reversed(now.starts[-count:]):
        rate = f"{screen.size(start.memory_rate)}/s" if start.memory_rate else ""
        outcome = Text(screen.plain(start.outcome), style=COLOURS.get(start.outcome.partition(":")[0], ""))
        cells = (screen.age(start.time, now.time), _cut(_label(start)), outcome)
        table.add_row(*cells, *([] if narrow else [screen.seconds(start.total_s), rate]))
    return table


def _label(start: Start) -> str:
    return "/".join((start.namespace, start.pod, start.container)) if start.pod else start.container_id[:12]


def _cut(name: str) -> Text:
    """On one line, and the first to give way on a narrow terminal."""
    return Text(screen.plain(name), no_wrap=True, overflow="ellipsis")


def _table(columns: Iterable[str], right: Iterable[str]) -> Table:
    """As `screen.table` has them, but a row stays a line."""
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        found.add_column(
            name.upper(), justify="right" if name in right else "left", no_wrap=name != "container"
        )
    return found
