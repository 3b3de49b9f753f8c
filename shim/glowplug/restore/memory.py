"""Memory that a capture moved out of CRIU's images: got ready while CRIU works, written while it takes its last stages.

Used by the runtime: standard library only.
"""

from __future__ import annotations

from glowplug.criu import fill
from glowplug.errors import GlowplugError
from glowplug.host import process
from glowplug.restore import progress

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Callable

    from glowplug.criu.action_script import Gate

    Report = Callable[[int, int], None]


def prepared(checkpoint: str) -> fill.Fill:
    """All extents of a checkpoint's directory, to be left as a context. Raises ImageError."""
    return fill.Fill(f"{checkpoint}/memory")


def reporter(path: str) -> Report:
    """What puts (bytes done, bytes in all) into this file. A run directory that is full costs no restore."""

    def report(done: int, total: int) -> None:
        try:
            progress.report(path, done, total)
        except OSError:
            return

    return report


def write(
    extents: fill.Fill,
    gate: Gate,
    is_over: Callable[[], bool],
    until: float,
    begin_part: Callable[[str], None],
    report: Report,
) -> fill.Filled | None:
    """Wait until the tree is made, and write; None where CRIU fails before or meanwhile.

    is_over: whether `runc restore` has ended. until: time.monotonic(). begin_part: called with the stage that begins.
    Where CRIU fails, its failure is to be reported, and not that its processes are gone. Raises ImageError, CriuError.
    """
    init = gate.wait_made(until, is_over)
    if init is None:
        return None
    begin_part("memory")
    filled = None
    try:
        filled = extents.write(process.members(init), until, report)
    except GlowplugError:
        if gate.wait(until, is_over) is not None:
            raise
    begin_part("criu")
    return filled
