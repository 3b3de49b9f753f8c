"""How long each part of a capture takes, for its record."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def measured(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Put the body's seconds into `seconds` by that name, unless it raises. A name behind a dot is a part of the step
    before it."""
    began = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - began, 4)
