"""Running the steps of a restore: within the deadline, each one timed, the first failure named."""

import signal
import time
from types import FrameType

from glowplug.errors import GlowplugError
from glowplug.restore import child, steps


class Failed(Exception):
    """A restore that did not come about. `stage` names the step; nothing is cleaned up yet."""

    def __init__(self, stage: str, detail: str) -> None:
        super().__init__(f"{stage}: {detail}")
        self.stage = stage
        self.detail = detail


class _Late(GlowplugError):
    pass


def run(work: steps.Work, phases: dict[str, float]) -> None:
    """Take every step; `phases` gets the seconds of each, also of the one that failed; a part of a step that was
    measured on its own does not count in the step's.

    Raises Failed. The deadline interrupts a step wherever it is (SIGALRM), so that no slow disk outlasts it.
    """
    signal.signal(signal.SIGALRM, _late)
    signal.setitimer(signal.ITIMER_REAL, max(0.001, work.left_s()))
    stage = ""
    try:
        for stage, step in steps.STEPS:
            before = time.monotonic()
            try:
                step(work)
            finally:
                phases[stage] = round(time.monotonic() - before - sum(work.measured.values()), 4)
                phases.update(work.measured)
                work.measured.clear()
    except (_Late, child.TimedOut):
        raise Failed(
            "deadline", f"the step {work.part or stage} was not done when the time for a restore was over"
        ) from None
    except (GlowplugError, OSError) as error:
        raise Failed(work.part or stage, str(error)) from error
    except Exception as error:  # promise 1: what we did not think of is a failed step like any other
        raise Failed(work.part or stage, f"{type(error).__name__}: {error}") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _late(_signal: int, _frame: FrameType | None) -> None:
    raise _Late
