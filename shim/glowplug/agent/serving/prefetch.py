"""Checkpoints read into the page cache ahead of their restores: those of containers that were just made, and the
pinned ones.

A restore has the disk to itself: while one is under way nothing is read ahead. All pinned checkpoints together
take half of the memory that the node can spare at most, so that reading one never drives out another.
"""

import logging
import threading
import time
from collections.abc import Callable

from glowplug.agent.loop.heart import Heart
from glowplug.cache.store import Store
from glowplug.criu import prefetch
from glowplug.errors import GlowplugError
from glowplug.host import memory, pagecache
from glowplug.outcomes import under_way

log = logging.getLogger("glowplug.agent")

AGAIN_AFTER_S = 10.0
PINNED_REST_S = 60.0
LONGEST_REST_S = 3600.0
SILENT_S = 300.0
"""A disk may take so long for one piece of a checkpoint."""


class Prefetcher(threading.Thread):
    """One thread: two readers of one disk are slower than one."""

    def __init__(self, store: Store) -> None:
        super().__init__(name="prefetch", daemon=True)
        self._store = store
        self._stopping = False
        self._wanted: list[str] = []
        self._rests: dict[str, tuple[float, float]] = {}
        self._called = threading.Condition()
        self.heart = Heart("prefetch", SILENT_S)

    def want(self, checkpoint: str) -> None:
        """A container that matches this checkpoint was made."""
        with self._called:
            self._wanted.append(checkpoint)
            self._called.notify()

    def run(self) -> None:
        """Until `close`."""
        while not self._stopping:
            self.heart.beat()
            with self._called:
                self._called.wait_for(lambda: self._wanted or self._stopping, AGAIN_AFTER_S)
                wanted, self._wanted = list(dict.fromkeys(self._wanted)), []
            try:
                for checkpoint in wanted:
                    self._read(checkpoint, self._may_read)
                for checkpoint in [] if wanted else self.pinned():
                    self._read_pinned(checkpoint)
            except (GlowplugError, OSError) as error:
                log.warning("%s", error)

    def close(self) -> None:
        """Returns when nothing is read any more."""
        with self._called:
            self._stopping = True
            self._called.notify()
        self.join()

    def pinned(self) -> list[str]:
        """Those that are to be kept in memory: the last used ones that fit."""
        budget = (memory.available() or 0) // 2
        kept = []
        for row in sorted(self._store.rows(), key=lambda row: row.last_used, reverse=True):
            if row.pinned and not row.quarantine and row.bytes <= budget:
                budget -= row.bytes
                kept.append(row.id)
        return kept

    def _read_pinned(self, checkpoint: str) -> None:
        """A node that is short of memory drops what was read: each time it is read again after twice as long."""
        due, rest_s = self._rests.get(checkpoint, (0.0, PINNED_REST_S))
        if time.monotonic() >= due and self._read(checkpoint, self._may_continue):
            self._rests[checkpoint] = (time.monotonic() + rest_s, min(LONGEST_REST_S, 2 * rest_s))

    def _read(self, checkpoint: str, may_continue: Callable[[], bool]) -> bool:
        """Whether there was something to read."""
        directory = self._store.path(checkpoint)
        if not may_continue() or not any(map(pagecache.uncached_bytes, prefetch.files(directory))):
            return False
        read = prefetch.prefetch(directory, (memory.available() or 0) // 2, may_continue)
        log.info("read ahead %d bytes of checkpoint %s", read, checkpoint)
        return True

    def _may_read(self) -> bool:
        """One that a container waits for."""
        self.heart.beat()
        return not (self._stopping or _restoring())

    def _may_continue(self) -> bool:
        return self._may_read() and not self._wanted


def _restoring() -> bool:
    try:
        return under_way.restores_running() > 0
    except OSError:
        return False
