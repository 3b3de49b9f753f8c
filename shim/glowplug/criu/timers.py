"""timerfds in CRIU's images: those that would never fire again after a restore.

The kernel arms a periodic timer again when it is read, so one that has fired and was not read yet shows nothing left
(fs/timerfd.c, timerfd_get_remaining), and CRIU restores exactly that: disarmed. And CRIU restores an absolute time
as this second plus what was left, up to a second early (criu/pie/restorer.c, prepare_timerfds).
Field numbers: images/timerfd.proto. Those that no process holds: in_transit.py.
"""

from glowplug.criu import images
from glowplug.criu.images import Message

_FILE_TIMER = 12
_CLOCK, _TICKS, _SET_FLAGS = 4, 5, 6
_VALUE_S, _VALUE_NS, _INTERVAL_S, _INTERVAL_NS = 7, 8, 9, 10

_ABSOLUTE, _CANCEL_ON_SET = 1, 2  # TFD_TIMER_* (timerfd_create(2))
_WALL_CLOCKS = (0, 8)  # CLOCK_REALTIME, CLOCK_REALTIME_ALARM


def apply(images_dir: str) -> int:
    """Correct the timerfds of files.img; how many were. Called once on a fresh dump. Raises ImageError.

    A periodic one that has fired and was not read fires again an interval after the restore; what it has counted
    is there to be read at once. An absolute one of a clock that continues gets what was left, to the nanosecond.
    """
    entries = images.load(images_dir, "files.img", "files")
    changed = 0
    for entry in entries:
        timer = entry.message(_FILE_TIMER)
        if timer is not None and (_rearm(timer) | _count_from_now(timer)):
            entry.put_message(_FILE_TIMER, timer)
            changed += 1
    if changed:
        images.store(images_dir, "files.img", "files", entries)
    return changed


def _rearm(timer: Message) -> bool:
    """One that was disarmed by hand has an interval too, but has counted nothing since (timerfd_settime(2))."""
    is_over = not timer.integer(_VALUE_S) and not timer.integer(_VALUE_NS)
    interval = (timer.integer(_INTERVAL_S) or 0, timer.integer(_INTERVAL_NS) or 0)
    if not (is_over and any(interval) and timer.integer(_TICKS)):
        return False
    timer.put_integer(_VALUE_S, interval[0])
    timer.put_integer(_VALUE_NS, interval[1])
    return True


def _count_from_now(timer: Message) -> bool:
    flags = timer.integer(_SET_FLAGS) or 0
    if not flags & _ABSOLUTE or timer.integer(_CLOCK) in _WALL_CLOCKS:
        return False
    timer.put_integer(_SET_FLAGS, flags & ~(_ABSOLUTE | _CANCEL_ON_SET))
    return True
