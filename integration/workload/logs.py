"""Numbered lines on stdout and stderr."""

import itertools
import os
import threading
import time

_numbers = itertools.count()
_last = -1
_said = 0


def start(period_ms: int) -> None:
    """Write forever, from a thread; nothing where the period is 0."""
    if period_ms:
        threading.Thread(target=_write, args=(period_ms / 1000,), daemon=True).start()


def say(lines: int) -> None:
    """Write that many lines to each stream at once; they are numbered on from the last call's."""
    global _said
    for number in range(_said, _said + lines):
        os.write(1, b"said %d\n" % number)
        os.write(2, b"complained %d\n" % number)
    _said += lines


def count() -> int:
    """Number of the line written last; -1 before the first."""
    return _last


def _write(period_s: float) -> None:
    global _last
    for number in _numbers:
        os.write(1, b"out %d\n" % number)
        os.write(2, b"err %d\n" % number)
        _last = number
        time.sleep(period_s)
