"""The phases of a start in the order in which they were run, and where each is in it."""

from collections.abc import Iterable, Iterator

from glowplug.cli.bars import Phase
from glowplug.outcomes.starts import Start
from glowplug.restore import stages

_WITHIN = {"criu": ("memory",), "cuda": ("cuda_attach", "cuda_hold", "cuda_restore", "cuda_unlock")}
"""Parts of a step that are measured on their own; the step's own seconds are what is left of it."""

REST = "rest"
HAND_OVER = "hand-over"
"""All of a start that knows no phases: from the call of create until runc has it."""


def order() -> list[str]:
    """The question to the agent, then the steps of a restore, each with its parts behind it."""
    names = ["resolve"]
    for name in stages.NAMES:
        names += [name, *_WITHIN.get(name, ())]
    return names


def in_order(names: Iterable[str]) -> list[str]:
    """Those that we know by their place, others after them."""
    known = order()
    return sorted(names, key=lambda name: known.index(name) if name in known else len(known))


def of(start: Start) -> list[Phase]:
    """One after another; what no phase accounts for is the last one. Empty where nothing is known."""
    return list(_in_a_row(start))


def _in_a_row(start: Start) -> Iterator[Phase]:
    begin_s = 0.0
    for name in in_order(start.phases):
        yield Phase(name, begin_s, start.phases[name])
        begin_s += start.phases[name]
    rest_s = (start.total_s or 0.0) - begin_s
    if rest_s > 0:
        yield Phase(REST if start.phases else HAND_OVER, begin_s, rest_s)
