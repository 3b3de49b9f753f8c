"""Heartbeats: every thread of the agent shows that it is alive, and the service manager's watchdog sees it."""

import time


class Heart:
    """`name`: for the log. `limit_s`: without a beat for so long it counts as dead."""

    def __init__(self, name: str, limit_s: float) -> None:
        self.name = name
        self.limit_s = limit_s
        self._last = time.monotonic()

    def beat(self) -> None:
        """The thread is alive."""
        self._last = time.monotonic()

    def age_s(self) -> float:
        """Since the last beat."""
        return time.monotonic() - self._last

    @property
    def is_alive(self) -> bool:
        """Whether it beat in time."""
        return self.age_s() <= self.limit_s
