"""What was read of checkpoints when a container was made, for its start a moment later.

How much of a checkpoint is in the page cache takes the kernel some milliseconds per gigabyte to say, and nothing else
of an answer grows with its size. Only what was completely in memory is kept, and for this one start: what was not may
have been read meanwhile (prefetch.py). Where the kernel has dropped it since, the restore reads it again, within its
deadline.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

KEPT_S = 10.0
KEPT = 256
"""Containers; of more the oldest are forgotten, and are read for again."""
WAIT_S = 0.3
"""For a reading that is under way: of the second that an answer may take."""

Unread = dict[str, int]
"""Bytes that are not in the page cache, by checkpoint."""


@dataclass(slots=True)
class _Reading:
    busy: threading.Lock = field(default_factory=threading.Lock)
    at: float = float("-inf")
    unread: Unread = field(default_factory=dict)


class Readings:
    """Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._readings: dict[str, _Reading] = {}

    @contextmanager
    def begin(self, container: str) -> Iterator[Unread]:
        """To be filled for this container, which was made just now."""
        reading = _Reading()
        with reading.busy:
            with self._lock:
                self._readings[container] = reading
                while len(self._readings) > KEPT:
                    del self._readings[next(iter(self._readings))]
            yield reading.unread
            reading.at = self._clock()

    def take(self, container: str) -> Unread:
        """What was completely in memory when it was made; empty the second time."""
        with self._lock:
            reading = self._readings.pop(container, None)
        if reading is None or not reading.busy.acquire(timeout=WAIT_S):
            return {}
        reading.busy.release()
        if self._clock() - reading.at > KEPT_S:
            return {}
        return {checkpoint: unread for checkpoint, unread in reading.unread.items() if unread == 0}
