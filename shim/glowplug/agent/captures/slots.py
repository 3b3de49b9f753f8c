"""Slots for captures that pause a container: so many at once on this node, of an agent that was killed, too.

A slot is a file in the run directory that is locked (flock(2)): it is free again when its holder dies.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from glowplug import paths
from glowplug.errors import CaptureRefused

WITHIN_S = 120.0
LOOK_EVERY_S = 0.05


@contextlib.contextmanager
def taken(slots: int, within_s: float = WITHIN_S) -> Iterator[None]:
    """Waits for one. Raises CaptureRefused where there is none in time."""
    os.makedirs(paths.capture_slots(), 0o700, exist_ok=True)
    until = time.monotonic() + within_s
    while (lock := _free(slots)) is None:
        if time.monotonic() >= until:
            raise CaptureRefused(
                "slot", f"all {slots} slots were taken for {within_s:g} s (max_concurrent_captures)"
            )
        time.sleep(LOOK_EVERY_S)
    try:
        yield
    finally:
        os.close(lock)


def _free(slots: int) -> int | None:
    for number in range(slots):
        lock = os.open(f"{paths.capture_slots()}/{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return lock
    return None
