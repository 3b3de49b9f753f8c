"""The one way in for what happened: the spool's records taken in, logged, judged, and told to everybody else.

An outcome whose agent dies between the journal and the telling stays in the history; it is told at most once.
"""

import logging
from collections.abc import Mapping

from glowplug.agent.history import History
from glowplug.agent.logs import fields
from glowplug.agent.record import Record, kind, number, text
from glowplug.cache import fault
from glowplug.cache.fault import Fault
from glowplug.cache.state import FOREVER
from glowplug.cache.store import Store
from glowplug.capture import judged
from glowplug.errors import CacheError

log = logging.getLogger("glowplug.agent")

EARLY_EXIT_S = 10.0

_LOGGED = (
    *("namespace", "pod", "container", "container_id", "result", "by", "outcome", "checkpoint", "detail"),
    *("total_s", "ran_s", "stopped", "pause_s", "bytes", "memory_bytes", "phases"),
)


def take_in(store: Store, history: History) -> None:
    """What is new. A checkpoint that is gone by now needs no judgement."""
    for taken in history.take_in():
        record = _known(taken)
        _tell(history, record)
        checkpoint = text(record, "checkpoint")
        if checkpoint:
            try:
                set_apart = _judge(store, checkpoint, record)
            except CacheError as error:
                log.info("%s", error)
                continue
            if set_apart:
                _tell(history, {"event": "quarantine", "checkpoint": checkpoint, **set_apart})


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


def _tell(history: History, record: Record) -> None:
    level = logging.WARNING if record.get("event") == "quarantine" else logging.INFO
    values = {name: record.get(name) for name in _LOGGED}
    log.log(level, text(record, "event") or "start", extra=fields(values))
    for teller in history.tellers:
        teller(record)


def _judge(store: Store, checkpoint: str, record: Record) -> dict[str, object]:
    """Whether the record speaks against the checkpoint; why it is set apart, or nothing. Raises CacheError."""
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
        if ran_s is None or ran_s >= EARLY_EXIT_S:
            store.proved(checkpoint)
        elif record.get("stopped") is not True:
            found = store.early_exit(checkpoint)
            if found.quarantine and not found.early_exits:
                return {"stage": "early-exit", "detail": found.quarantine.reason}
    return {}
