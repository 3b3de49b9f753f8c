"""Asking a container whether it is ready, and how soon again."""

import time

from glowplug.agent.captures import ready
from glowplug.agent.captures.ready import ANSWER_WITHIN_S, LATEST_S, SOONEST_EXEC_S, SOONEST_S
from glowplug.agent.loop.parts import Parts
from glowplug.agent.loop.row import Case, Row

SEEN_AT_ONCE_S = 1.0
SLOW_S = 0.2
"""A query that took longer is made from then on where it holds up no other."""


def is_ready(parts: Parts, row: Row, case: Case) -> bool:
    """One question. Raises GlowplugError, OSError."""
    began = time.monotonic()
    wanted, started = case.policy.ready, case.candidate.started
    assert wanted is not None  # or it would not wait
    if case.ask is None:
        owner = case.candidate.facts.sandbox_namespace
        case.ask = ready.question(
            wanted, case.running, parts.cri, began if started is None else started, owner
        )
        if started is not None and began - started < SEEN_AT_ONCE_S:
            case.last_no = began
    case.is_probed = True
    answer = case.ask(min(case.until, began + ANSWER_WITHIN_S))
    now = time.monotonic()
    row.slow = now - began > SLOW_S
    if not answer:
        case.last_no = now
    return answer


def next_probe_s(parts: Parts, case: Case) -> float:
    """In so many seconds: the longer it takes, the later."""
    wanted = case.policy.ready
    soonest = SOONEST_EXEC_S if wanted is not None and wanted.kind == "exec" else SOONEST_S
    waited = time.monotonic() - (case.until - parts.config.readiness_timeout_s)
    return min(LATEST_S, max(soonest, waited / 50))
