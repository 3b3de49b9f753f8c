"""Running the steps of a restore: each one timed and reported as it begins, the first failure with its step."""

from __future__ import annotations

import time

from glowplug.errors import GlowplugError
from glowplug.restore import steps
from glowplug.restore.result import Reporter, Result

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from glowplug.restore.work import Work

    Steps = Iterable[tuple[str, Callable[[Work], None]]]


def run(work: Work, reporter: Reporter, taken: Steps = steps.STEPS) -> int:
    """Take every step, and say how it went; the exit status of the process that restores.

    A part of a step that was measured on its own is a step of its own in what is said, and does not count in the
    other's seconds.
    """
    result = Result()
    work.begin_part = reporter.step
    try:
        for stage, step in taken:
            before = time.monotonic()
            reporter.step(stage)
            try:
                step(work)
            finally:
                own = time.monotonic() - before - sum(work.measured.values())
                result.phases[stage] = round(result.phases.get(stage, 0.0) + own, 4)
                for part, seconds in work.measured.items():
                    result.phases[part] = round(result.phases.get(part, 0.0) + seconds, 4)
                work.measured.clear()
    except (GlowplugError, OSError) as error:
        result.detail = str(error) or type(error).__name__
    except Exception as error:  # noqa: BLE001 - what we did not think of is a failed step like any other
        result.detail = f"{type(error).__name__}: {error}"
    result.memory_bytes = work.memory.bytes if work.memory is not None else 0
    try:
        steps.release(work)
    except Exception as error:  # noqa: BLE001 - the take-back kills what is left
        result.detail = result.detail or f"{type(error).__name__}: {error}"
    reporter.end(result)
    return 1 if result.detail else 0
