"""Outcomes taken in from the runtime's spool, logged, and held against the checkpoints that were at fault."""

import logging

from glowplug.agent.history import History, Record
from glowplug.cache import fault
from glowplug.cache.fault import Fault
from glowplug.cache.state import FOREVER
from glowplug.cache.store import Store
from glowplug.errors import CacheError

log = logging.getLogger("glowplug.agent")

EARLY_EXIT_S = 10.0


def take_in(store: Store, history: History) -> None:
    """What is new. A checkpoint that is gone by now needs no judgement."""
    for record in history.take_in():
        log.info("%s", _line(record))
        checkpoint = record.get("checkpoint")
        if isinstance(checkpoint, str):
            try:
                _judge(store, checkpoint, record)
            except CacheError as error:
                log.info("%s", error)


def _judge(store: Store, checkpoint: str, record: Record) -> None:
    outcome, _, stage = str(record.get("outcome", "")).partition(":")
    detail = str(record.get("detail", ""))
    if outcome == "fallback" and fault.whose(stage, [detail]) is Fault.CHECKPOINT:
        # Damage does not heal; what may have been bad luck is tried again after a while.
        store.quarantine(checkpoint, f"{stage}: {detail}", detail.split("; "), FOREVER if stage == "check" else None)
        log.warning("checkpoint %s is set apart: %s", checkpoint, detail)
    elif record.get("event") == "exit":
        ran_s = record.get("ran_s")
        if not isinstance(ran_s, int | float) or ran_s >= EARLY_EXIT_S:
            store.proved(checkpoint)
        elif record.get("stopped") is not True:
            store.early_exit(checkpoint)


def _line(record: Record) -> str:
    shown = (
        "namespace",
        "pod",
        "container",
        "container_id",
        "event",
        "outcome",
        "checkpoint",
        "detail",
        "total_s",
    )
    return " ".join(f"{name}={record[name]}" for name in shown if record.get(name) not in (None, ""))
