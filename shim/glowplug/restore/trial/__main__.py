"""The process that makes a trial: `python -m glowplug.restore.trial PARENT`, a task as JSON on its input, an answer as
JSON on its output. It dies with its parent; what it leaves then is in its attempt."""

import contextlib
import ctypes
import json
import os
import sys
import time
from dataclasses import asdict

from glowplug import paths
from glowplug.errors import GlowplugError
from glowplug.host import process_life
from glowplug.restore import attempt, pipeline, supervised
from glowplug.restore.journal import Journal
from glowplug.restore.trial import steps
from glowplug.restore.trial.pod import Pod
from glowplug.restore.trial.task import Answer, Task, of

PR_SET_CHILD_SUBREAPER = 36  # uapi/linux/prctl.h
REAPED_WITHIN_S = 5.0


def main() -> int:
    """The exit status."""
    parent = int(sys.argv[1])
    process_life.die_with_parent(parent)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    task = of(json.load(sys.stdin))
    try:
        answer = run(task, parent)
    except (GlowplugError, OSError) as error:
        answer = Answer("place", str(error))
    json.dump(asdict(answer), sys.stdout)
    return 0


def run(task: Task, parent: int) -> Answer:
    """The trial, from its attempt's beginning; its undo is the parent's. Raises GlowplugError, OSError."""
    until = time.monotonic() + task.deadline_s
    begun = attempt.begin(_journal(task, parent))
    os.makedirs(begun.journal.bundle, 0o700)
    with Pod(task.network) as pod:
        namespaces = {kind: pod.path(name) for kind, name in steps.OF_THE_POD.items()}
        work = steps.Trial(begun, task, namespaces, until)
        _, failure = supervised.run(lambda reporter: pipeline.run(work, reporter, steps.STEPS), until)
    _reap()
    if failure is not None:
        return Answer(failure.stage, failure.detail)
    return Answer()


def _journal(task: Task, parent: int) -> Journal:
    place = paths.trial_place(task.cache, task.container)
    return Journal(
        paths.trial_id(task.container),
        trial=True,
        root=f"{place}/runc",
        runc=task.runc,
        bundle=place,
        rootfs=f"{place}/rootfs",
        cache=task.cache,
        checkpoint="trial",
        pid_file=f"{place}/init.pid",
        cgroups_path=f"/{paths.trial_id(task.container)}",
        script=(parent, process_life.start_time(parent) or 0),
    )


def _reap() -> None:
    """What was killed and fell to us; one that is stuck in the kernel falls to who comes after."""
    until = time.monotonic() + REAPED_WITHIN_S
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < until:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())
