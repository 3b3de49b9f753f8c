"""One start as lines and bars in a terminal."""

import sys

from rich.text import Text

from glowplug.cli import bars, phases, screen
from glowplug.cli.bars import Phase
from glowplug.outcomes.starts import Start

WIDEST = 100
COLOURS = {"restored": "green", "cold": "blue", "fallback": "yellow"}


def show(start: Start) -> None:
    """On standard output; in a pipe without colours."""
    for text in about(start):
        screen.line(text)
    out = screen.console()
    found = phases.of(start)
    if not found:
        return
    screen.line()
    total_s = (found[-1].begin_s + found[-1].length_s) or 1.0
    width = min(out.width, WIDEST)
    colour = COLOURS.get(start.outcome.partition(":")[0], "")
    for phase in found:
        line = _line(phase, total_s, colour, width, ascii_only=out.options.ascii_only)
        if sys.stdout.isatty():
            out.print(line)
        else:
            screen.line(line.plain.rstrip())


def lines(start: Start) -> list[str]:
    """A line for each thing that is known of it."""
    known = (
        ("start", screen.clock(start.time)),
        ("outcome", start.outcome),
        ("reason", start.detail),
        ("checkpoint", start.checkpoint or ""),
        ("took", screen.seconds(start.total_s)),
        ("memory", memory(start)),
        ("compiled", f"compile cache {start.compile_cache}" if start.compile_cache else ""),
        ("hook", f"after-restore {start.hook}" if start.hook else ""),
        ("ran", screen.seconds(start.ran_s)),
    )
    return [f"  {name + ':':11} {text}" for name, text in known if text]


def about(start: Start) -> list[str]:
    """What is known of it, without its phases."""
    pod = "/".join((start.namespace, start.pod, start.container)) if start.pod else "a container"
    return [f"{pod}: container {start.container_id[:12]}", *lines(start)]


def memory(start: Start) -> str:
    """How much large memory was written, and how fast; "" where there was none."""
    if not start.memory_bytes or not start.memory_rate:
        return ""
    return f"{screen.size(start.memory_bytes)} at {screen.size(start.memory_rate)}/s"


def _line(phase: Phase, total_s: float, colour: str, width: int, *, ascii_only: bool) -> Text:
    line = Text(screen.plain(f"  {phase.name[:15]:15} {screen.seconds(phase.length_s):>8}  "))
    line.append(bars.bar(phase, total_s, max(10, width - len(line) - 1), ascii_only), style=colour)
    return line
