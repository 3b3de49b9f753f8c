"""What the agent looks after from time to time: the store's limits, and killed restores that nobody took back.

The runtime takes those of its own pod back at the next create; the agent does it for pods that have none."""

import logging
import os

from glowplug.cache.store import Store
from glowplug.errors import CacheError, GlowplugError
from glowplug.restore import attempt, cleanup

log = logging.getLogger("glowplug.agent")

DEADLINE_S = 15.0
PATIENCE_S = 3600.0
"""For checkpoints that nobody used for long: a clock that is set wrong for a while empties no cache."""


def run(store: Store) -> None:
    """One round. A failure is logged and tried again in the next."""
    try:
        for line in store.sweep():
            log.info("%s", line)
        for checkpoint, why, size in store.gc(patience_s=PATIENCE_S):
            log.info("removed checkpoint %s (%d bytes): %s", checkpoint, size, why)
    except CacheError as error:
        log.error("%s", error)
    for left in attempt.abandoned():
        try:
            cleanup.clean_up(left, DEADLINE_S, create_follows=False)
            log.info("took back the killed restore of container %s", left.id)
        except (GlowplugError, OSError) as error:
            os.close(left.lock)
            log.error("the killed restore of container %s can't be taken back: %s", left.id, error)
