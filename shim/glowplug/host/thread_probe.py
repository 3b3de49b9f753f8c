"""What threads of a container can say of themselves alone: a Landlock domain, settings of prctl(2).

Run as a program, `python -IS thread_probe.py INIT TID…`, so that whoever asks is nobody's debugger. Prints a JSON
object for each thread of which there is something to say. x86-64 only.
"""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field

if __name__ == "__main__":  # -I leaves our own package off the path
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from glowplug.host import landlock_probe, own_settings, proc
from glowplug.host.remote_calls import Thread, can_call

DONE_WITHIN_S = 60.0

__all__ = ["Found", "ask", "can_call"]


@dataclass(frozen=True, slots=True)
class Found:
    """Of a thread. `settings`: see own_settings.py. `is_unknown`: a filter, or its own dispatch of system calls, keeps
    it from saying so."""

    thread: int
    is_restricted: bool = False
    is_unknown: bool = False
    dispatches_calls: bool = False
    settings: dict[str, int] = field(default_factory=dict)


def ask(init: int, threads: list[int]) -> list[Found]:
    """Of those that have something to say. init: the container's first process. What ends meanwhile is left out.

    Raises OSError, subprocess.TimeoutExpired.
    """
    done = subprocess.run(
        [sys.executable, "-IS", os.path.abspath(__file__), str(init), *map(str, threads)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DONE_WITHIN_S,
    )
    if done.returncode:
        raise OSError(f"threads can't be asked for what they set: {done.stderr.strip()[-200:]}")
    return [Found(**json.loads(line)) for line in done.stdout.splitlines()]


def main(init: int, threads: list[int]) -> None:
    """Prints what `ask` reads. Raises OSError where no helper can be made."""
    usual = own_settings.own_speculation()
    asked: set[int] = set()
    with landlock_probe.Helpers(init) if landlock_probe.is_on() else nullcontext() as helpers:
        for thread in threads:
            try:
                group = int(proc.status(thread)["Tgid"])
                may_restrict = helpers is not None and landlock_probe.may_restrict(thread)
                helper = helpers.for_thread(thread) if helpers is not None and may_restrict else 0
                found = _of(thread, helper, group not in asked, usual)
            except (ProcessLookupError, FileNotFoundError, TimeoutError):
                continue  # it ended, or can't be stopped: the capture will see
            asked.add(group)
            if found != Found(thread):
                sys.stdout.write(json.dumps(asdict(found)) + "\n")


def _of(number: int, helper: int, is_first: bool, usual: dict[str, int]) -> Found:
    with Thread(number) as thread:
        if thread.dispatches_calls():
            return Found(number, is_unknown=True, dispatches_calls=True)
        if thread.is_filtered:
            return Found(number, is_unknown=True)
        is_restricted = helper > 0 and landlock_probe.is_restricted(thread, helper)
        return Found(number, is_restricted, settings=own_settings.read(thread, is_first, usual))


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(word) for word in sys.argv[2:]])
