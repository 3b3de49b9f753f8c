"""Killed restores taken back, wherever nobody else has done it yet: the runtime does at the next create."""

import logging
import os

from glowplug.errors import GlowplugError
from glowplug.restore import attempt, cleanup

log = logging.getLogger("glowplug.agent")

DEADLINE_S = 15.0


def run() -> None:
    """One round. A failure is logged and tried again in the next."""
    for left in attempt.abandoned():
        try:
            cleanup.clean_up(left, DEADLINE_S, create_follows=False)
            log.info("took back the killed restore of container %s", left.id)
        except (GlowplugError, OSError) as error:
            os.close(left.lock)
            log.error("the killed restore of container %s can't be taken back: %s", left.id, error)
