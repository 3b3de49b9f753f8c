"""What the agent looks after from time to time: the store's limits, and killed restores that nobody took back.

The runtime takes those of its own pod back at the next create; the agent does it for pods that have none."""

import logging

from glowplug.cache.compile_caches import is_compile_cache
from glowplug.cache.store import Store
from glowplug.errors import CacheError
from glowplug.restore import attempt, take_back
from glowplug.restore.journal import Journal

log = logging.getLogger("glowplug.agent")

DEADLINE_S = take_back.DEADLINE_S
PATIENCE_S = 3600.0
"""For checkpoints that nobody used for long: a clock that is set wrong for a while empties no cache."""


def run(store: Store) -> None:
    """One round. A failure is logged and tried again in the next."""
    try:
        for line in store.sweep():
            log.info("%s", line)
        for removed, why, size in store.gc(patience_s=PATIENCE_S):
            what = "" if is_compile_cache(removed) else "checkpoint "
            log.info("removed %s%s (%d bytes): %s", what, removed, size, why)
    except CacheError as error:
        log.error("%s", error)
    try:
        attempt.remove_fragments()
        for journal in attempt.left():
            take_back_one(journal)
    except OSError as error:
        log.error("killed restores can't be looked up: %s", error)


def take_back_one(journal: Journal) -> None:
    """One that nobody waits for any more. Whatever is wrong with it is no reason against the next."""
    try:
        result = take_back.take_back_abandoned(journal, wait_s=0.0)
        if result is not None:
            log.info("an unfinished restore of container %s: %s", journal.id, result)
    except TimeoutError:
        return  # somebody is at it
    except Exception as error:
        log.exception("the unfinished restore of container %s can't be taken back: %s", journal.id, error)
