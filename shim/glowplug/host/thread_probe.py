"""What threads of a container can say of themselves alone: a Landlock domain, settings of prctl(2).

Run as a program, `python -IS thread_probe.py INIT TID…`, so that the caller is nobody's debugger. Prints a JSON
object for each thread of which there is something to say. x86-64 only.

It must not be killed: a thread that works for it at that moment would continue with registers that are not its own, and
crash. So SIGTERM stops it, between two threads.

What takes long is waiting for each thread to stop, twenty times. So several processes ask, each its own threads: ptrace
belongs to the thread that attached.
"""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

if __name__ == "__main__":  # -I leaves our own package off the path
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from glowplug.host import landlock_probe, own_settings, proc, process_life
from glowplug.host.remote_calls import Thread, can_call, instruction

DONE_WITHIN_S = 60.0
ENDS_WITHIN_S = 10.0
"""Once it has to stop. One whose thread is paused meanwhile ends when that thread continues."""
MOST_PROCESSES, FEWEST_THREADS = 8, 16
"""Processes that ask, at most, and threads that are worth one of them."""

__all__ = ["Found", "Probed", "ask", "ask_again", "can_call"]


@dataclass(frozen=True, slots=True)
class Found:
    """Of a thread. `settings`: see own_settings.py. `is_unknown`: a filter, or its own dispatch of system calls, keeps
    it from saying so."""

    thread: int
    is_restricted: bool = False
    is_unknown: bool = False
    dispatches_calls: bool = False
    settings: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Probed:
    """What was said, and by which threads: each with its start time (proc_pid_stat(5))."""

    found: tuple[Found, ...]
    threads: frozenset[tuple[int, int]]


def ask_again(init: int, threads: list[int], before: Probed | None) -> Probed:
    """As `ask`; but of a thread that was queried before, that answer counts. Not where it speaks against a capture, and
    not of one that may have dropped rights by Landlock since: a restore would give them back.

    Raises OSError, subprocess.TimeoutExpired.
    """
    before = before or Probed((), frozenset())
    started = {thread: process_life.start_time(thread) or 0 for thread in threads}
    against = {one.thread for one in before.found if one != Found(one.thread, settings=one.settings)}
    known = {thread for thread, ticks in before.threads if started.get(thread) == ticks} - against
    restricts = landlock_probe.is_on()
    unqueried = [thread for thread in threads if thread not in known or (restricts and _may_restrict(thread))]
    kept = [one for one in before.found if one.thread in known.difference(unqueried)]
    return Probed((*kept, *(ask(init, unqueried) if unqueried else ())), frozenset(started.items()))


def _may_restrict(thread: int) -> bool:
    try:
        return landlock_probe.may_restrict(thread)
    except OSError:
        return False  # it ended


def ask(init: int, threads: list[int]) -> list[Found]:
    """Of those that have something to say. init: the container's first process. What ends meanwhile is left out.

    Raises OSError, subprocess.TimeoutExpired.
    """
    asking = subprocess.Popen(
        [sys.executable, "-IS", os.path.abspath(__file__), str(init), *map(str, threads)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,  # what interrupts us is not meant for it
    )
    try:
        said, errors = asking.communicate(timeout=DONE_WITHIN_S)
    except BaseException:
        _end(asking)
        raise
    if asking.returncode:
        raise OSError(f"threads can't be queried for what they set: {errors.strip()[-200:]}")
    return [Found(**json.loads(line)) for line in said.splitlines()]


def _end(asking: subprocess.Popen[str]) -> None:
    """It and the processes that ask for it, none of them while a thread works for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(asking.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        asking.communicate(timeout=ENDS_WITHIN_S)


class _Question(NamedTuple):
    """`instruction`: see remote_calls.py. `helper`: 0 where the thread can have no Landlock domain."""

    thread: int
    instruction: int
    helper: int


_stops: list[int] = []
"""Signals that stop this process."""


def main(init: int, threads: list[int]) -> None:
    """Prints what `ask` reads. Raises OSError where no helper can be made, an asking process failed, or it had to
    stop."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: _stops.append(number))
    usual = own_settings.own_speculation()
    with landlock_probe.Helpers(init) if landlock_probe.is_on() else contextlib.nullcontext() as helpers:
        others: list[_Question] = []
        for questions in _by_process(list(dict.fromkeys(threads)), helpers):
            others += _after_the_first(questions, usual)
        _side_by_side(others, usual)


def _after_the_first(questions: list[_Question], usual: dict[str, int]) -> list[_Question]:
    """The first thread of a process that answers says what is the process's own, too. Those that are left to ask."""
    for at, one in enumerate(questions):
        if _answered(one, True, usual):
            return questions[at + 1 :]
    return []


def _by_process(threads: list[int], helpers: landlock_probe.Helpers | None) -> list[list[_Question]]:
    """What to ask the threads of each process."""
    of: dict[int, list[_Question]] = {}
    for thread in threads:
        try:
            known = of.setdefault(int(proc.status(thread)["Tgid"]), [])
            call = known[0].instruction if known else instruction(thread)
            may_restrict = helpers is not None and landlock_probe.may_restrict(thread)
            helper = helpers.for_thread(thread) if helpers is not None and may_restrict else 0
        except (ProcessLookupError, FileNotFoundError):
            continue
        known.append(_Question(thread, call, helper))
    return list(of.values())


def _side_by_side(questions: list[_Question], usual: dict[str, int]) -> None:
    """Each by one of several processes. Raises OSError where one of those failed."""
    cores = max(2, len(os.sched_getaffinity(0)))
    number = max(1, min(MOST_PROCESSES, cores, len(questions) // FEWEST_THREADS))
    sys.stdout.flush()
    children = [_asking(questions[at::number], usual) for at in range(1, number)]
    for one in questions[::number]:
        _answered(one, False, usual)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(statuses):
        raise OSError("a process that queried them failed")


def _asking(questions: list[_Question], usual: dict[str, int]) -> int:
    """The number of a child process that asks these."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for one in questions:
                _answered(one, False, usual)
            status = 0
        except OSError as error:
            os.write(sys.stderr.fileno(), f"{error}\n".encode())
        finally:
            os._exit(status)
    return child


def _answered(question: _Question, is_first: bool, usual: dict[str, int]) -> bool:
    """Whether it is still there, and what it says printed: at once and completely, beside what the others print.

    Raises InterruptedError where this process had to stop.
    """
    if _stops:
        raise InterruptedError(errno.EINTR, "had to stop")
    try:
        found = _of(question, is_first, usual)
    except (ProcessLookupError, FileNotFoundError, TimeoutError):
        return False  # it ended, or can't be stopped: the capture will see
    if found != Found(question.thread):
        os.write(sys.stdout.fileno(), json.dumps(asdict(found)).encode() + b"\n")
    return True


def _of(question: _Question, is_first: bool, usual: dict[str, int]) -> Found:
    number, helper = question.thread, question.helper
    with Thread(number, question.instruction) as thread:
        if thread.dispatches_calls():
            return Found(number, is_unknown=True, dispatches_calls=True)
        if thread.is_filtered:
            return Found(number, is_unknown=True)
        is_restricted = helper > 0 and landlock_probe.is_restricted(thread, helper)
        return Found(number, is_restricted, settings=own_settings.read(thread, is_first, usual))


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), [int(word) for word in sys.argv[2:]])
    except OSError as error:
        sys.exit(error.strerror or str(error))
