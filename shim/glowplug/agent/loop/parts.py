"""What the steps of the loop work with, and how they report what they decided."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from glowplug.agent.captures.candidate import Candidate
from glowplug.agent.captures.children import Children
from glowplug.agent.captures.running import look_up
from glowplug.agent.captures.turn import request
from glowplug.agent.learned import Learned
from glowplug.agent.serving.resolve import Resolver
from glowplug.cache.store import Store
from glowplug.capture import judged
from glowplug.capture.policy import When, is_chosen
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.containerd.cri import Cri
from glowplug.errors import CaptureRefused, GlowplugError
from glowplug.host import ending
from glowplug.outcomes import capture_outcome

log = logging.getLogger("glowplug.agent")

UNWANTED = ("never", "off", "old")
"""Reasons of containers that want no capture: nothing failed, and nothing is to be fixed."""


@dataclass(frozen=True, slots=True)
class Parts:
    """All thread-safe. `began`: when this agent did, in time.monotonic() seconds. `read_ahead`: takes a checkpoint's
    id. `saw_namespace`: takes a new pod's namespace."""

    config: Config
    containerd: Containerd
    cri: Cri
    store: Store
    resolver: Resolver
    learned: Learned
    children: Children
    read_ahead: Callable[[str], None]
    saw_namespace: Callable[[str], None]
    began: float

    def refused(self, candidate: Candidate, error: GlowplugError) -> None:
        """It is not captured: put on record."""
        if isinstance(error, CaptureRefused) and error.slug in UNWANTED:
            self.not_needed(candidate, str(error))
            return
        capture_outcome.not_captured(request(candidate), error, "agent", candidate.facts.sandbox_uid)
        self.decided(candidate)

    def not_needed(self, candidate: Candidate, why: str) -> None:
        """Nobody will capture it: put on record."""
        facts = candidate.facts
        capture_outcome.not_needed(
            facts.sandbox_namespace, facts.sandbox_name, facts.container_name, why, facts.sandbox_uid
        )
        self.decided(candidate)

    def decided(self, candidate: Candidate) -> None:
        """The next agent leaves it alone: what serves by then is not captured, and nothing is put on record twice."""
        try:
            judged.decide(candidate.id)
        except OSError as error:
            log.warning(
                "container %s: the next agent will decide on its capture again: %s", candidate.id, error
            )

    def end_if_wanted(self, candidate: Candidate, when: When, *, captured: bool = True) -> None:
        """Of a pod that is there to be captured once: its work is done, or can't be. Raises ContainerdError."""
        if when != "once-and-exit" or not is_chosen(candidate.facts, self.config.capture_default_scope):
            return
        running = look_up(self.containerd, candidate.record, candidate.facts)
        if running is not None:
            (ending.end_with_zero if captured else ending.kill)(running.pid)

    def ran_before_us(self, candidate: Candidate) -> float:
        """Seconds that it had run when this agent began; 0 for one that was started later."""
        started = candidate.started
        return 0.0 if started is None else max(0.0, self.began - started)


def since(started_unix: float | None) -> float | None:
    """The same moment in time.monotonic() seconds."""
    return None if started_unix is None else time.monotonic() - max(0.0, time.time() - started_unix)
