"""Waiting for a condition, with a deadline: the only way that tests wait."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

POLL_S = 0.02
RESTS, LONGEST_S = 4, 0.5
"""Between two looks, so many times as long as a look takes: who waits is no load for what is waited for."""
LEAST_S = 60.0
"""The least deadline: it is for what never comes, and no test measures how fast a machine is."""


def wait_until(condition: Callable[[], Value], deadline_s: float, what: str, poll_s: float = POLL_S) -> Value:
    """The condition's first true value. Raises TimeoutError, which says what was waited for."""
    deadline_s = max(deadline_s, LEAST_S)
    until = time.monotonic() + deadline_s
    while True:
        before = time.monotonic()
        value = condition()
        if value:
            return value
        now = time.monotonic()
        if now > until:
            raise TimeoutError(f"expected {what} within {deadline_s:g} s, last saw {value!r}")
        time.sleep(max(poll_s, min(RESTS * (now - before), LONGEST_S)))
