"""What the demo prints: a line per step while it runs, then a table and a timeline.

On a terminal with colours and a spinner; in a pipe plain text, one line per step.
"""

import contextlib
import math
from collections.abc import Iterator

from hack.demolib.figures import Figures, Start
from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from glowplug.cli.bars import Phase, bar

WIDEST = 100
COLD = "blue"
RESTORE = "green"
TITLE_COLUMNS = 14
NAME_COLUMNS = 14
TIME_COLUMNS = 8
# A phase shorter than this part of its start has no line of its own.
SHORT = 0.01


class Display:
    """Where the demo speaks."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Shows a step while it takes place; nothing of it stays, and a pipe sees nothing."""
        if self._console.is_terminal:
            with self._console.status(f"[dim]{what}[/]"):
                yield
        else:
            yield

    def say(self, title: str, text: str) -> None:
        """A line that stays."""
        line = Text(f"{title:{TITLE_COLUMNS}}", style="bold")
        line.append(text, style="not bold")
        self._console.print(line, soft_wrap=True)

    def figures(self, figures: Figures) -> None:
        """The table and the timeline."""
        width = min(self._console.width, WIDEST)
        ascii_only = self._console.options.ascii_only
        for part in (table(figures), timeline(figures, width, ascii_only)):
            self._console.print()
            self._console.print(part)
        self._console.print()


def table(figures: Figures) -> Table:
    """Cold, restore, speed-up, size, and what shows that the second start is the first one's process."""
    made = Table(box=box.ROUNDED)
    for heading, style in (
        ("cold start", COLD),
        ("restore", RESTORE),
        ("speed-up", "bold"),
        ("checkpoint", ""),
        ("answer", ""),
        ("token", ""),
    ):
        made.add_column(heading, style=style, justify="right")
    made.add_row(
        f"{figures.cold.seconds:.2f} s",
        f"{figures.restore.seconds:.2f} s",
        f"{figures.speedup:.1f}x",
        f"{figures.checkpoint_bytes / 1e6:.1f} MB",
        "same" if figures.same_answer else "other",
        "same" if figures.same_token else "other",
    )
    return made


def timeline(figures: Figures, width: int, ascii_only: bool = False) -> Group:
    """Both starts as bars on one scale, then the phases of each on a scale of its own."""
    longest = max(figures.cold.seconds, figures.restore.seconds)
    starts = (("cold", figures.cold, COLD), ("restore", figures.restore, RESTORE))
    lines = [Text("from the StartContainer call to the first correct answer", style="bold")]
    for name, start, style in starts:
        total = Phase(name, 0.0, start.seconds)
        lines.append(_line(total, longest, style, width, ascii_only))
    for name, start, style in starts:
        lines += [Text(), Text(f"{name}, phase by phase", style="bold")]
        for phase in worth_a_line(start):
            lines.append(_line(phase, start.seconds, style, width, ascii_only))
    return Group(*lines)


def worth_a_line(start: Start) -> list[Phase]:
    """The phases in order; the short ones as one, after the others."""
    long = [phase for phase in start.phases if phase.length_s >= SHORT * start.seconds]
    short_s = sum(phase.length_s for phase in start.phases if phase not in long)
    if short_s <= 0:
        return long
    return [*long, Phase("other steps", math.nan, short_s)]


def _line(phase: Phase, total_s: float, style: str, width: int, ascii_only: bool) -> Text:
    """Name, seconds, bar. Phases that are spread over the start, as `other steps`, have no bar."""
    line = Text(f" {phase.name:{NAME_COLUMNS - 1}}{phase.length_s:{TIME_COLUMNS - 2}.2f} s")
    if not math.isnan(phase.begin_s):
        columns = max(10, width - len(line) - 3)
        line.append("  ")
        line.append(bar(phase, total_s, columns, ascii_only), style=style)
    return line
