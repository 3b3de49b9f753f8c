"""Starts that are cold on purpose: where limits were raised since the capture, one pod is captured again (rule 8.2).

A checkpoint with lower limits fits, but its process sized itself by them; and who is restored is not captured. So of
the pods that would be restored from one, a single one at a time starts cold and is captured with its own limits, while
the others are restored as ever.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

AGAIN_AFTER_S = 3600.0
"""One whose capture came to nothing has a successor then."""
KEPT = 1000


@dataclass(frozen=True, slots=True)
class _Turn:
    container: str
    at: float


class Renewals:
    """Thread-safe. Of this agent's life: one that comes back begins with another container."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._turns: dict[tuple[object, ...], _Turn] = {}

    def is_turn_of(self, container: str, workload: tuple[object, ...]) -> bool:
        """Whether this container is the one to start cold; queried again, the answer is the same.

        `workload`: with the limits that its pods have now.
        """
        now = self._clock()
        with self._lock:
            turn = self._turns.get(workload)
            if turn is None or now - turn.at >= AGAIN_AFTER_S:
                turn = self._turns[workload] = _Turn(container, now)
                while len(self._turns) > KEPT:
                    del self._turns[next(iter(self._turns))]
            return turn.container == container
