"""How fast this node restores, learned from its own restores, for the prediction in checkpoint/worth.py."""

import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Iterable

from glowplug.checkpoint.worth import NodeRates
from glowplug.outcomes.record import Record, kind, memory_rate, number

KEPT = 16
"""Restores that count, the last ones: a node's disk and memory change with its load."""

ENOUGH = 3
FRESH_S = 86_400.0

LEAST_BYTES = 64 << 20
"""Smaller ones are ruled by what a restore costs without memory."""

Seen = tuple[float, float]
"""When (seconds since the epoch), and bytes per second."""


class Rates:
    """Thread-safe. Medians of several, so that one slow restore does not condemn the next; and of one day, so that
    restores that were found not worth it are tried again.

    A restore whose files were in the page cache shows how fast memory is filled; one that had most of them to
    read, how fast the disk reads while memory is filled.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        """`records`: what is known of earlier starts, the oldest first."""
        self._lock = threading.Lock()
        self._read: deque[Seen] = deque(maxlen=KEPT)
        self._fill: deque[Seen] = deque(maxlen=KEPT)
        for record in records:
            self.report(record)

    def report(self, record: Record) -> None:
        """Of one more start."""
        written, unread = number(record, "memory_bytes"), number(record, "unread_bytes")
        at, rate = number(record, "time"), memory_rate(record)
        if kind(record)[0] != "restored" or not at or not rate or not written or unread is None:
            return
        with self._lock:
            if written >= LEAST_BYTES and unread < written / 100:
                self._fill.append((at, rate))
            elif unread >= LEAST_BYTES and unread > written / 2:
                self._read.append((at, rate * unread / written))

    def measured(self) -> NodeRates:
        """In bytes per second; None where there were too few such restores."""
        with self._lock:
            return NodeRates(_median(self._read), _median(self._fill), len(os.sched_getaffinity(0)))


def _median(found: Iterable[Seen]) -> float | None:
    since = time.time() - FRESH_S
    fresh = [rate for at, rate in found if at > since]
    return statistics.median(fresh) if len(fresh) >= ENOUGH else None
