"""The step of a restored container: its hook after the restore and its canary, until they succeed or it is ended.

The readiness of a restored pod waits for this: a server that came back asleep answers its probe and no request. So
its end is one record of the history: `done`, `none` (nothing was wanted of us) or `failed`. One that can't be woken is
killed, and its pod starts it again, cold. That it is over is beside the restore's marker, which goes with the
container: an agent that comes back neither forgets nor repeats it.
"""

import logging
import os
import time

from glowplug import paths
from glowplug.agent.captures import canary, hooks
from glowplug.agent.captures.running import has_ended
from glowplug.agent.loop.parts import Parts
from glowplug.agent.loop.row import FINISHED, Case, Next, Row, State
from glowplug.cache import layout
from glowplug.cache.state import FOREVER
from glowplug.errors import CacheError, CanaryError, HookError
from glowplug.host import ending
from glowplug.outcomes import report
from glowplug.restore import marker

log = logging.getLogger("glowplug.agent")

EVENT = "after-restore"
DONE, NONE, FAILED = "done", "none", "failed"


def is_due(case: Case) -> bool:
    """Whether it still has to be woken."""
    candidate = case.candidate
    return not os.path.exists(paths.hooked(candidate.runc_root, candidate.id))


def wake(parts: Parts, row: Row) -> Next:
    """One try. Raises ContainerdError, OSError."""
    case = row.case
    assert case is not None
    if has_ended(case.running):
        return FINISHED
    if not is_due(case):
        parts.end_if_wanted(case.candidate, case.policy.when)
        return FINISHED
    began = time.monotonic()
    case.until = case.until or began + 2 * case.policy.hook_timeout_s
    try:
        result, seconds = _woken(parts, case)
    except CanaryError as error:
        _quarantine(parts, case, error)
        return _ended(case, error)
    except HookError as error:
        return _failed(case, error)
    tries = {"tries": case.tries + 1} if case.tries else {}
    _report(case, {"result": result, **tries, **({"seconds": seconds} if seconds else {})})
    _remember(case)
    parts.end_if_wanted(case.candidate, case.policy.when)
    return FINISHED


def _woken(parts: Parts, case: Case) -> tuple[str, dict[str, float]]:
    """DONE or NONE, and the seconds of each request. Raises HookError."""
    hook, question = case.policy.after_restore, case.policy.canary
    seconds: dict[str, float] = {}
    if hook is not None:
        seconds = hooks.run(hook, case.running, parts.containerd, parts.cri, case.policy.hook_timeout_s)
    if question is not None:
        found = marker.read(case.candidate.runc_root, case.candidate.id)
        if found is not None:
            directory = layout.checkpoint(parts.config.cache, found.checkpoint)
            began = time.monotonic()
            canary.after_restore(question, case.running, directory, case.policy.hook_timeout_s)
            seconds["canary"] = round(time.monotonic() - began, 4)
    return NONE if hook is None and question is None else DONE, seconds


def _quarantine(parts: Parts, case: Case, error: CanaryError) -> None:
    """Its checkpoint makes copies that answer otherwise: it serves nobody any more."""
    found = marker.read(case.candidate.runc_root, case.candidate.id)
    if found is not None:
        try:
            parts.store.quarantine(found.checkpoint, str(error), until=FOREVER)
        except CacheError as lacking:
            log.error("checkpoint %s can't be quarantined: %s", found.checkpoint, lacking)


def _failed(case: Case, error: HookError) -> Next:
    case.tries += 1
    candidate = case.candidate
    if has_ended(case.running):
        return FINISHED
    if case.tries < hooks.TRIES and time.monotonic() < case.until:
        log.warning("container %s: try %d to wake it failed: %s", candidate.id, case.tries, error)
        return Next(State.WAKING, hooks.again_after_s(case.tries))
    return _ended(case, error)


def _ended(case: Case, error: HookError) -> Next:
    candidate = case.candidate
    log.error("container %s can't be woken, so it is ended and starts cold: %s", candidate.id, error)
    _report(case, {"result": FAILED, "detail": str(error), "tries": case.tries})
    ending.kill(case.running.pid)
    _remember(case)
    return FINISHED


def _report(case: Case, said: dict[str, object]) -> None:
    facts = case.candidate.facts
    report.append(
        {
            "event": EVENT,
            "container_id": case.candidate.id,
            "sandbox_id": facts.sandbox_id,
            "namespace": facts.sandbox_namespace,
            "pod": facts.sandbox_name,
            "pod_uid": facts.sandbox_uid,
            "container": facts.container_name,
            **said,
        }
    )


def _remember(case: Case) -> None:
    candidate = case.candidate
    try:
        with open(paths.hooked(candidate.runc_root, candidate.id), "w"):
            pass
    except FileNotFoundError:
        return  # the container is gone, and needs no memory
    except OSError as error:
        log.error(
            "container %s: another agent will repeat its hook after the restore: %s", candidate.id, error
        )
