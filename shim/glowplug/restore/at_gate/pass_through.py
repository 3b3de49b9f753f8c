"""Taking a paused tree through the steps at the gate.

Used by the runtime: standard library only.
"""

import time
from collections.abc import Callable

from glowplug.restore.at_gate import steps
from glowplug.restore.at_gate.restored_tree import RestoredTree


def run(restored: RestoredTree, begin_part: Callable[[str], None], measured: dict[str, float]) -> None:
    """Every step, each reported as it begins and measured. Raises what a step raises."""
    for name, step in steps.STEPS:
        before = time.monotonic()
        begin_part(name)
        step(restored)
        measured[name] = round(time.monotonic() - before, 4)
