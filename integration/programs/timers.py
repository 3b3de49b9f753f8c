"""timerfds: read late, of the wall clock, disarmed."""

import ctypes
import os
import select
import signal
import struct
import sys
import threading
import time

libc = ctypes.CDLL(None)
PERIOD_NS = 20_000_000


def _timer(clock, flags, *times):
    fd = libc.timerfd_create(clock, os.O_NONBLOCK)
    assert not libc.timerfd_settime(fd, flags, struct.pack("qqqq", *times), None)
    return fd


def _ticks_on(fd):
    def check():
        os.read(fd, 8) if select.select([fd], [], [], 30)[0] else None
        assert select.select([fd], [], [], 30)[0], "it ticks no more"

    return check


def never_read():
    """It has fired long ago, and only a poll looks at it."""
    return _ticks_on(_timer(time.CLOCK_BOOTTIME, 0, 0, PERIOD_NS, 0, PERIOD_NS))


def of_the_wall_clock():
    """Absolute and periodic; a thread reads it."""
    now = time.time_ns() + 50_000_000
    fd = _timer(time.CLOCK_REALTIME, 1, 0, PERIOD_NS, *divmod(now, 10**9))
    counted = [0]

    def count():
        while True:
            select.select([fd], [], [])
            counted[0] += struct.unpack("Q", os.read(fd, 8))[0]

    threading.Thread(target=count, daemon=True).start()

    def check():
        before, until = counted[0], time.monotonic() + 30
        while counted[0] <= before + 3 and time.monotonic() < until:
            time.sleep(0.02)
        assert counted[0] > before + 3, f"{counted[0] - before} ticks"

    return check


def at_a_time_of_day():
    """Far in the future: it must still be due then, not later by the time between capture and restore."""
    due = time.time_ns() + 3600 * 10**9
    fd = _timer(time.CLOCK_REALTIME, 1, 0, 0, *divmod(due, 10**9))

    def check():
        earliest = time.time_ns()
        with open(f"/proc/self/fdinfo/{fd}") as file:
            left = (
                next(line for line in file if line.startswith("it_value"))
                .split("(")[1]
                .rstrip(")\n")
                .split(", ")
            )
        latest = time.time_ns()
        by = due - int(left[0]) * 10**9 - int(left[1])  # so it was read then
        assert earliest - 50_000_000 < by < latest + 50_000_000, f"due {(latest - by) / 1e9:.3f} s off"

    return check


def disarmed():
    """With an interval: it must not begin to tick."""
    fd = _timer(time.CLOCK_MONOTONIC, 0, 0, PERIOD_NS, 0, 0)

    def check():
        assert not select.select([fd], [], [], 0.1)[0], "it ticks"

    return check


def of_an_executed_grandchild():
    """In a session of its own, by a program that was executed, below a parent that is gone. It beats by touching a
    file, so that no descriptor comes and goes."""
    touched = "/run/beats"
    program = (
        "import ctypes, os, struct\n"
        "timer = ctypes.CDLL(None).timerfd_create(7, 0)\n"
        f"ctypes.CDLL(None).timerfd_settime(timer, 0, struct.pack('qqqq', 0, {PERIOD_NS}, 0, {PERIOD_NS}), None)\n"
        f"while os.read(timer, 8): os.utime({touched!r})\n"
    )
    with open(touched, "w"):
        os.utime(touched, (0, 0))
    if not os.fork():
        os.setsid()
        if os.fork():
            os._exit(0)
        os.execv(sys.executable, [sys.executable, "-c", program])
    os.wait()

    def check():
        seen, until = {os.stat(touched).st_mtime_ns}, time.monotonic() + 30
        while len(seen) < 4 and time.monotonic() < until:
            time.sleep(0.01)
            seen.add(os.stat(touched).st_mtime_ns)
        assert len(seen) == 4, "it beats no more"

    check()  # it was executed
    return check


class _Event(ctypes.Structure):
    """struct sigevent."""

    _fields_ = [
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("thread", ctypes.c_int),
        ("rest", ctypes.c_char * 40),
    ]


def for_one_thread():
    """POSIX timers, one for the first thread, one for another."""
    counted = {}

    def fired(number, _):
        counted[number] = counted.get(number, 0) + 1

    def start(number):
        event = _Event(0, number, 4, libc.gettid())  # SIGEV_THREAD_ID
        timer = ctypes.c_void_p()
        assert libc.timer_create(time.CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)) == 0
        assert libc.timer_settime(timer, 0, struct.pack("qqqq", 0, PERIOD_NS, 0, PERIOD_NS), None) == 0

    def other():
        start(signal.SIGRTMIN + 9)
        threading.Event().wait()

    numbers = signal.SIGRTMIN + 8, signal.SIGRTMIN + 9
    for number in numbers:
        signal.signal(number, fired)
    start(numbers[0])
    threading.Thread(target=other, daemon=True).start()

    def check():
        before, until = dict(counted), time.monotonic() + 30
        while (
            any(counted.get(one, 0) < before.get(one, 0) + 3 for one in numbers) and time.monotonic() < until
        ):
            time.sleep(0.02)
        assert all(counted.get(one, 0) >= before.get(one, 0) + 3 for one in numbers), (before, counted)

    return check
