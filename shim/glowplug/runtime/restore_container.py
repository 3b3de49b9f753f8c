"""A container for which the agent has a match: restored in a process of its own, and what is said of it.

Whatever goes wrong, this process ends with "run runc" and leaves the attempt as it is: the script takes it back first.
"""

import os
import time

from glowplug.checkpoint.bundle import BundleFacts
from glowplug.host import process_life
from glowplug.restore import attempt, pipeline, report, steps, supervised, tidy
from glowplug.restore.plan import BadPlan, Plan
from glowplug.restore.result import Reporter
from glowplug.runtime import own
from glowplug.runtime.argv import Command

CONTAINER_STDIO = (7, 8, 9)
DEADLINE_S = 60.0
GRACE_S = 5.0
"""So much later than we kill it the process that restores would give up by itself."""

Said = dict[str, object]


def run(
    runc: str,
    command: Command,
    spec: dict[str, object],
    facts: BundleFacts,
    answer: Said,
    began: float,
    noted: Said,
) -> Said | None:
    """None where it is restored. Else what is said of a cold start: nothing where taking it back will say it.

    answer: the agent's. began: time.monotonic() when `create` was called. noted: what goes into each outcome.
    Raises OSError where there can be no attempt; nothing was changed then.
    """
    process_life.die_with_parent(os.getppid())
    try:
        plan = Plan(answer)
    except BadPlan as error:
        return {"outcome": "cold:agent-bad-response", "detail": str(error), **noted}
    resolved_s = round(time.monotonic() - began, 4)
    trial = attempt.begin(own.facts(runc, command, facts, plan.cache, plan.checkpoint))
    until = began + min(DEADLINE_S if plan.deadline_s is None else plan.deadline_s, DEADLINE_S)
    new_keyring = "no-new-keyring" not in command.flags
    work = steps.Work(trial, plan, spec, CONTAINER_STDIO, until + GRACE_S, new_keyring)

    try:
        return _restore(trial, plan, work, until, resolved_s, began, noted)
    except Exception as error:  # noqa: BLE001 - promise 1: whatever it was, the script takes back what is there
        failed = {"outcome": "fallback:internal-error", "detail": f"{type(error).__name__}: {error}"}
        trial.note_failure({**noted, **failed})
        return {}


def _restore(
    trial: attempt.Attempt,
    plan: Plan,
    work: steps.Work,
    until: float,
    resolved_s: float,
    began: float,
    noted: Said,
) -> Said | None:
    def restore(reporter: Reporter) -> int:
        return pipeline.run(work, reporter)

    result, failure = supervised.run(restore, until)
    said: Said = {
        **noted,
        "checkpoint": plan.checkpoint,
        "unread_bytes": plan.unread_bytes,
        "phases": {"resolve": resolved_s, **result.phases},
    }
    if failure is not None:
        said |= {"outcome": f"fallback:{failure.stage}", "detail": failure.detail}
        trial.note_failure({**said, "total_s": round(time.monotonic() - began, 4)})
        return {}
    trial.complete()
    keep = time.monotonic()
    remaining = tidy.tidy(trial)
    said["phases"] = {"resolve": resolved_s, **result.phases, "keep": round(time.monotonic() - keep, 4)}
    said |= {"outcome": "restored", "memory_bytes": result.memory_bytes}
    report.once(trial, {**said, "total_s": round(time.monotonic() - began, 4)})
    if not remaining:
        trial.finish()
    return None
