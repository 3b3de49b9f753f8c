"""A container for which the agent has a match: restored in a process of its own, and what is said of it.

Whatever goes wrong, this process ends with "run runc" and leaves the attempt as it is: the script takes it back first.
"""

import os
import time

from glowplug.checkpoint.bundle import BundleFacts
from glowplug.checkpoint.oci import Spec
from glowplug.host import process_life
from glowplug.outcomes.outcome import Outcome
from glowplug.restore import attempt, pipeline, report, supervised, tidy
from glowplug.restore.result import Reporter
from glowplug.restore.work import Work
from glowplug.runtime import journal
from glowplug.runtime.argv import Command
from glowplug.runtime.status import DONE, RUNC

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from glowplug.restore.plan import Plan

CONTAINER_STDIO = (7, 8, 9)
DEADLINE_S = 60.0
GRACE_S = 5.0
"""So much later than we kill it the process that restores would give up on its own."""


def run(
    runc: str,
    command: Command,
    spec: Spec,
    facts: BundleFacts,
    plan: "Plan",
    began: float,
    left_behind: str,
) -> tuple[int, Outcome | None]:
    """DONE where it is restored, else RUNC; and an outcome that taking back will not record.

    began: time.monotonic() when `create` was called. left_behind: goes into each outcome.
    Raises OSError where there can be no attempt; nothing was changed then.
    """
    process_life.die_with_parent(os.getppid())
    resolved_s = _since(began)
    trial = attempt.begin(journal.of(runc, command, facts, plan))
    until = began + min(DEADLINE_S if plan.deadline_s is None else plan.deadline_s, DEADLINE_S)
    new_keyring = "no-new-keyring" not in command.flags
    work = Work(trial, plan, spec, facts, CONTAINER_STDIO, until + GRACE_S, new_keyring)
    outcome = Outcome("restored")
    outcome.left_behind = left_behind
    outcome.phases = {"resolve": resolved_s}
    try:
        return _restore(trial, plan, work, until, began, outcome), None
    except Exception as error:  # noqa: BLE001 - promise 1: whatever it was, the script takes back what is there
        outcome.slug, outcome.detail = "fallback:internal-error", f"{type(error).__name__}: {error}"
        trial.note_failure(outcome)
        return RUNC, None


def _restore(
    trial: attempt.Attempt, plan: "Plan", work: Work, until: float, began: float, outcome: Outcome
) -> int:
    def restore(reporter: Reporter) -> int:
        return pipeline.run(work, reporter)

    result, failure = supervised.run(restore, until)
    outcome.checkpoint, outcome.unread_bytes = plan.checkpoint, plan.unread_bytes
    outcome.phases |= result.phases
    if failure is not None:
        outcome.slug, outcome.detail = f"fallback:{failure.stage}", failure.detail
        outcome.total_s = _since(began)
        trial.note_failure(outcome)
        return RUNC
    trial.complete()
    keep = time.monotonic()
    remaining = tidy.tidy(trial)
    outcome.phases["commit"] = _since(keep)
    outcome.memory_bytes = result.memory_bytes
    outcome.total_s = _since(began)
    report.once(trial, outcome)
    if not remaining:
        trial.finish()
    return DONE


def _since(began: float) -> float:
    return round(time.monotonic() - began, 4)
