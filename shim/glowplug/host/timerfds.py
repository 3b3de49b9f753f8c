"""timerfds that are to fire at a time of day: read from outside, set again by the same time of day.

CRIU restores what was left of them at the dump. Standard library only: a capture reads them, a restore sets them.
"""

import ctypes
import os
import time

_WALL_CLOCKS = (0, 8)  # CLOCK_REALTIME, CLOCK_REALTIME_ALARM
_ABSOLUTE = 1  # TFD_TIMER_ABSTIME
_S = 1_000_000_000

_libc = ctypes.CDLL(None, use_errno=True)


class _Spec(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in ("interval_s", "interval_ns", "value_s", "value_ns")]


def due(pid: int, number: int) -> tuple[int, int, int] | None:
    """Of an absolute timer of the wall clock that runs: timerfd_settime(2)'s flags, when it fires next, and its
    interval, both in nanoseconds; None of any other.

    What has fired and was not read yet counts as another: CRIU keeps that.
    """
    try:
        with open(f"/proc/{pid}/fdinfo/{number}") as file:
            fields = dict(line.rstrip("\n").split(": ", 1) for line in file if ": " in line)
        now = time.time_ns()
        flags = int(fields["settime flags"], 8)
        left_s, left_ns = _pair(fields["it_value"])
        interval_s, interval_ns = _pair(fields["it_interval"])
        if int(fields["clockid"]) not in _WALL_CLOCKS or not flags & _ABSOLUTE or int(fields["ticks"]):
            return None
    except (OSError, KeyError, ValueError):
        return None
    left = left_s * _S + left_ns
    return (flags, now + left, interval_s * _S + interval_ns) if left else None


def arm(fd: int, flags: int, at_ns: int, interval_ns: int) -> None:
    """Set a copy of the restored one's descriptor; one that is overdue fires at once. Raises OSError."""
    spec = _Spec(*divmod(interval_ns, _S), *divmod(at_ns, _S))
    if _libc.timerfd_settime(fd, flags, ctypes.byref(spec), None):
        number = ctypes.get_errno()
        raise OSError(number, f"a timerfd can't be set: {os.strerror(number)}")


def _pair(text: str) -> tuple[int, int]:
    """`(1, 500)`: seconds and nanoseconds."""
    seconds, _, nanoseconds = text.strip("()").partition(", ")
    return int(seconds), int(nanoseconds)
