"""POSIX timers that are for one thread (timer_create(2), SIGEV_THREAD_ID): CRIU 4.2 writes a number that means nothing
where that is the process's first thread (criu/timer.c, encode_notify_thread_id), and then can't make the timer again.

Field numbers: images/core.proto, timer.proto.
"""

from glowplug.criu import images, processes

_TASK, _TIMERS, _POSIX = 3, 7, 4
_NOTIFY, _THREAD = 4, 11
_THREAD_ID = 4  # SIGEV_THREAD_ID


def apply(images_dir: str) -> int:
    """Name the first thread where no thread of the process is set; how many timers were corrected. Called once on a
    fresh dump. Raises ImageError."""
    return sum(_repair(images_dir, one.pid, one.threads) for one in processes.tree(images_dir))


def _repair(images_dir: str, pid: int, threads: tuple[int, ...]) -> int:
    (core, *others) = images.load(images_dir, f"core-{pid}.img", "core")
    task = core.message(_TASK)
    timers = task.message(_TIMERS) if task else None
    listed = timers.messages(_POSIX) if timers else []
    wrong = [
        one
        for one in listed
        if (one.integer(_NOTIFY) or 0) & _THREAD_ID and one.integer(_THREAD) not in (pid, *threads)
    ]
    if task is None or timers is None or not wrong:
        return 0
    for one in wrong:
        one.put_integer(_THREAD, pid)
    timers.put_messages(_POSIX, listed)
    task.put_message(_TIMERS, timers)
    core.put_message(_TASK, task)
    images.store(images_dir, f"core-{pid}.img", "core", [core, *others])
    return len(wrong)
