"""Ingests the spool: its records are logged, judged, and passed on to everything that reports them.

An outcome whose agent dies between the journal and the reporting stays in the history; it is reported at most once.
"""

import logging
from collections.abc import Mapping

from glowplug.agent.logs import fields
from glowplug.cache import fault
from glowplug.cache.fault import Fault
from glowplug.cache.state import FOREVER
from glowplug.cache.store import Store
from glowplug.capture import judged
from glowplug.errors import CacheError
from glowplug.outcomes.history import History
from glowplug.outcomes.record import Record, kind, number, text

log = logging.getLogger("glowplug.agent")

EARLY_EXIT_S = 10.0
PROVED_S = 600.0
"""A restored container that ran for so long was intact; one whose pod started it again sooner may not have been."""

RESTARTED = "container-restart"
"""The reason of a cold start that says: an earlier one in this pod was a restore, and has ended."""

UNJUDGED = 100
"""Records kept that could not be acted upon, as on a full disk."""

_LOGGED = (
    *("namespace", "pod", "container", "container_id", "result", "by", "outcome", "checkpoint", "detail"),
    *("total_s", "ran_s", "stopped", "pause_s", "bytes", "memory_bytes", "phases"),
)


def take_in(store: Store, history: History) -> None:
    """What is new. A checkpoint that is gone by now needs no judgement."""
    for taken in history.take_in():
        record = _known(taken)
        _report(history, record)
        _act(store, history, record)


def _act(store: Store, history: History, record: Record) -> None:
    """Judge the checkpoint that the record speaks of. What can't be written now is tried again with the next ones."""
    waiting, history.unjudged = [*history.unjudged, record][-UNJUDGED:], []
    for one in waiting:
        checkpoint = text(one, "checkpoint")
        try:
            quarantined = _judge(store, history, checkpoint, one) if checkpoint else {}
            if not checkpoint:
                checkpoint, quarantined = _judge_earlier(store, history, one)
        except CacheError as error:
            log.info("%s", error)
            if store.index.get(checkpoint) is not None:
                history.unjudged.append(one)
            continue
        if quarantined:
            _report(history, {"event": "quarantine", "checkpoint": checkpoint, **quarantined})


def _known(record: Record) -> Record:
    """With what the container's judgement says of it."""
    container = text(record, "container_id")
    judgement = judged.of(container) if container else None
    if judgement is None:
        return record
    return {**record, "workload": judgement.workload, **({} if judgement.chosen else {"chosen": False})}


def answer(store: Store, history: History, question: Mapping[str, object]) -> Mapping[str, object]:
    """`{"op": "history", …}`: with all that is in the spool at this moment."""
    take_in(store, history)
    return history.answer(question)


def _report(history: History, record: Record) -> None:
    level = logging.WARNING if record.get("event") == "quarantine" else logging.INFO
    values = {name: record.get(name) for name in _LOGGED}
    log.log(level, text(record, "event") or "start", extra=fields(values))
    for reporter in history.reporters:
        reporter(record)


def _judge(store: Store, history: History, checkpoint: str, record: Record) -> dict[str, object]:
    """Whether the record speaks against the checkpoint; why it is quarantined, or nothing. Raises CacheError."""
    outcome, stage = kind(record)
    detail = text(record, "detail")
    if outcome == "fallback" and fault.whose(stage, [detail]) is Fault.CHECKPOINT:
        # Damage does not heal; what may have been bad luck is tried again after a while.
        store.quarantine(
            checkpoint, f"{stage}: {detail}", detail.split("; "), FOREVER if stage == "check" else None
        )
        return {"stage": stage, "detail": detail}
    if record.get("event") == "exit":
        ran_s = number(record, "ran_s")
        if ran_s is None or ran_s >= PROVED_S:
            store.proved(checkpoint)
        elif ran_s < EARLY_EXIT_S and record.get("stopped") is not True:
            history.forget_restore(text(record, "container_id"))  # it counts once
            return _early(store, checkpoint)
    return {}


def _judge_earlier(store: Store, history: History, record: Record) -> tuple[str, dict[str, object]]:
    """A pod that starts a container again soon after it was restored: its checkpoint may hang, or crash late.

    One stopped by a liveness probe counts, too: that is how a process that hangs ends. (checkpoint, why it is
    quarantined or nothing). Raises CacheError.
    """
    outcome, reason = kind(record)
    if outcome != "cold" or reason != RESTARTED:
        return "", {}
    earlier = history.take_restore(text(record, "sandbox_id"), text(record, "container"))
    at = number(record, "time") or 0.0
    if earlier is None or not 0 <= at - earlier.at < PROVED_S:
        return "", {}
    return earlier.checkpoint, _early(store, earlier.checkpoint)


def _early(store: Store, checkpoint: str) -> dict[str, object]:
    found = store.early_exit(checkpoint)
    if found.quarantine and not found.early_exits:
        return {"stage": "early-exit", "detail": found.quarantine.reason}
    return {}
