"""The steps of a container that is to be captured: a check whether it is ready, and a capture in its own process."""

import time
from collections.abc import Mapping

from glowplug.agent.captures import existing, turn
from glowplug.agent.captures.running import has_ended
from glowplug.agent.loop import keeping
from glowplug.agent.loop.asking import is_ready, next_probe_s
from glowplug.agent.loop.parts import Parts
from glowplug.agent.loop.row import FINISHED, Case, Next, Row, State
from glowplug.errors import CaptureRefused, ContainerdError, GlowplugError
from glowplug.outcomes import capture_outcome

AGAIN_AFTER_S = 5.0
AGAIN_AT_MOST_S = 120.0
TRIES_WITHOUT_SPACE = 3
"""After these, 35 s later, a cache without space is no matter of the moment: a pod waits at its readiness gate."""

ANY_TIME = "any-time"


def ask(parts: Parts, row: Row) -> Next:
    """One question whether it is ready. Raises ContainerdError; everything else is put on record."""
    case = row.case
    assert case is not None
    try:
        return _probe(parts, row, case)
    except ContainerdError:
        if time.monotonic() < case.until:
            raise
        return _abandon(parts, case, GlowplugError("containerd could not be queried until its time was over"))
    except (GlowplugError, OSError) as error:
        return _abandon(parts, case, error)


def _probe(parts: Parts, row: Row, case: Case) -> Next:
    if has_ended(case.running):
        return FINISHED
    if _has_checkpoint(parts, case):
        return keeping.rest(parts, case)
    began = time.monotonic()
    if began >= case.until:
        limit_s = parts.config.readiness_timeout_s
        raise CaptureRefused("not-ready", f"it was not ready within {limit_s:g} s (readiness_timeout_s)")
    first = not case.is_probed
    if is_ready(parts, row, case):
        if first:
            _require_young(parts, case)
        return Next(State.READY, 0.0)
    return Next(State.WAITING, next_probe_s(parts, case))


def _require_young(parts: Parts, case: Case) -> None:
    """One that has long been ready has served others: what they sent it would be in its image."""
    limit_s = parts.config.capture_max_age_s
    ran_s = parts.ran_before_us(case.candidate)
    if ran_s > limit_s and case.policy.when != ANY_TIME:
        raise CaptureRefused(
            "old",
            f"it ran for {ran_s:.0f} s before this agent did, and was ready: glowplug.dev/capture: any-time captures "
            "a container that serves already",
        )


def capture(parts: Parts, row: Row) -> Next:
    """The capture itself; it takes as long as it takes. Raises ContainerdError; everything else is put on record."""
    case = row.case
    assert case is not None and case.judgement is not None
    try:
        if has_ended(case.running):
            return FINISHED
        if _has_checkpoint(parts, case):
            return keeping.rest(parts, case)
        parts.learned.require_capture(case.judgement.workload)
        cold_s = turn.cold_start_s(case.policy.ready, case.candidate.started, case.last_no, time.monotonic())
        task = turn.task(case.candidate, case.policy, case.running, parts.config, cold_s)
    except ContainerdError:
        raise
    except (GlowplugError, OSError) as error:
        return _abandon(parts, case, error)
    answer = parts.children.capture(task)
    if answer is None:
        return FINISHED  # the agent ends; the next one finds the container again
    if answer["result"] == capture_outcome.CAPTURED:
        parts.learned.captured(case.judgement)
        parts.decided(case.candidate)
        return FINISHED
    if answer["result"] == capture_outcome.NOT_NEEDED:
        parts.not_needed(case.candidate, str(answer["detail"]))
        parts.end_if_wanted(case.candidate, case.policy.when)
        return FINISHED
    if _may_pass(answer, case):
        case.tries += 1
        return Next(State.READY, min(AGAIN_AT_MOST_S, AGAIN_AFTER_S * 2 ** (case.tries - 1)))
    parts.decided(case.candidate)
    if not has_ended(case.running):
        parts.learned.not_captured(case.judgement, str(answer.get("slug", "")))
    if answer.get("reported") is False:
        capture_outcome.not_captured(task.request, _why(answer), "agent", task.pod_uid)
        parts.end_if_wanted(case.candidate, case.policy.when, captured=False)
    return keeping.rest(parts, case)


def _may_pass(answer: Mapping[str, object], case: Case) -> bool:
    """Whether it was refused for the moment alone, and there is time to try again."""
    if answer.get("passing") is not True or time.monotonic() >= case.until:
        return False
    return answer["slug"] != "no-space" or case.tries < TRIES_WITHOUT_SPACE


def _why(answer: Mapping[str, object]) -> GlowplugError:
    """What was not put on record yet: a refusal, or the end of the process that captured."""
    detail = str(answer["detail"])
    return CaptureRefused(str(answer["slug"]), detail) if answer["slug"] else GlowplugError(detail)


def _has_checkpoint(parts: Parts, case: Case) -> bool:
    """Whether there is a checkpoint for it, which is put on record. Raises CaptureRefused where there can be none."""
    assert case.judgement is not None
    why = existing.why(parts.store, parts.resolver.verdicts, case.candidate, case.judgement)
    if why is None:
        return False
    parts.not_needed(case.candidate, why)
    parts.end_if_wanted(case.candidate, case.policy.when)
    return True


def _abandon(parts: Parts, case: Case, error: Exception) -> Next:
    known = error if isinstance(error, GlowplugError) else GlowplugError(str(error))
    parts.refused(case.candidate, known)
    parts.end_if_wanted(case.candidate, case.policy.when, captured=False)
    return FINISHED
