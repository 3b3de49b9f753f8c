"""Which containers are being judged just now, because they were made: a start waits for that, and does not do it again.

What was found out is kept elsewhere, a judgement in `capture/judged.py` say.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

WAIT_S = 0.3
"""For one that is under way: of the second that an answer may take."""


class Preparing:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[str, threading.Event] = {}

    @contextmanager
    def begin(self, container: str) -> Iterator[None]:
        """While this container is judged."""
        done = threading.Event()
        with self._lock:
            self._under_way[container] = done
        try:
            yield
        finally:
            with self._lock:
                if self._under_way.get(container) is done:
                    del self._under_way[container]
            done.set()

    def wait(self, container: str) -> None:
        """Until it has been judged, or for WAIT_S."""
        with self._lock:
            done = self._under_way.get(container)
        if done is not None:
            done.wait(WAIT_S)
