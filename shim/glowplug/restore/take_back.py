"""One way for each attempt that its runtime left: taken back, or, where all of its tree was let go, completed.

The rule that this serves: nobody runs `runc create` for a container while there is an attempt of it. The script
takes back its own, whatever ended its Python; our `delete` and the agent's sweep those of scripts that are gone, too.

Used by the runtime: standard library only.
"""

import os
import time

from glowplug import paths
from glowplug.host import cgroup, process, process_life
from glowplug.outcomes.outcome import Outcome
from glowplug.restore import attempt, give_compile_cache, report, tidy, undo
from glowplug.restore.attempt import Attempt
from glowplug.restore.journal import Journal

DEADLINE_S = 15.0
LOCK_WAIT_S = 20.0
CRIU_ENDS_S = 5.0
POLL_S = 0.01

RESTORED = "restored"
UNDONE = "undone"


def take_back(left: Attempt, *, create_follows: bool, deadline_s: float = DEADLINE_S) -> str:
    """Of an attempt whose lock we have: RESTORED or UNDONE, with its outcome recorded. Then the attempt is gone, but
    for a complete one that could not be tidied up: the sweep tries that again.

    `create_follows`: for the create that it was made by, which still waits.
    Raises StillThere: then nobody may create this container, and the attempt stays.
    """
    if not left.is_complete and create_follows and _runs_complete(left):
        _write_pid_file(left.journal, left.opened())
        left.complete()
    if left.is_complete:
        report.once(left, Outcome("restored", "what restored it was killed when it ran already"))
        remaining = tidy.tidy(left)
        if remaining:
            left.release()
        else:
            left.finish()
        return RESTORED
    remaining = undo.undo(left, deadline_s, create_follows=create_follows)
    outcome = left.failure() or Outcome("fallback:killed", "the runtime was killed during the restore")
    if remaining:
        outcome.detail = f"{outcome.detail}; left behind: {'; '.join(remaining)}"
    if create_follows and left.journal.compile_cache:
        outcome.compile_cache = give_compile_cache.give(left.journal.compile_cache, left.journal.rootfs)
    report.once(left, outcome)
    left.finish()
    return UNDONE


def take_back_abandoned(journal: Journal, wait_s: float) -> str | None:
    """The same of an attempt that no script waits for (any more); None where one does, or it is gone.

    Raises TimeoutError where somebody else is at it for longer than `wait_s`, and what `take_back` raises.
    """
    if Attempt(journal, -1).is_waited_for():
        return None
    left = attempt.adopt(journal.id, wait_s)
    if left is None:
        return None
    try:
        return take_back(left, create_follows=False)
    finally:
        left.release()


def _runs_complete(left: Attempt) -> bool:
    """Whether its tree was let go, lives, and is known to runc: then the create has succeeded, even if the runtime was
    killed in its last milliseconds. CRIU has to be gone; it ends as soon as it has let go of the tree."""
    opened = left.opened()
    if opened is None or not process_life.is_running(*opened):
        return False
    state = paths.runc_state(left.journal.root, left.id)
    if not os.path.exists(f"{state}/state.json") or not os.path.exists(
        paths.marker(left.journal.root, left.id)
    ):
        return False
    runc = attempt.read_process(left.runc_record)
    if runc and not process_life.end(*runc, CRIU_ENDS_S):
        return False
    directories = undo.cgroups_of(left)
    until = time.monotonic() + CRIU_ENDS_S
    while any(process.is_here(pid) for pid in cgroup.pids(directories)):
        if time.monotonic() > until:
            return False
        time.sleep(POLL_S)
    return process_life.is_running(*opened)


def _write_pid_file(journal: Journal, opened: tuple[int, int] | None) -> None:
    """As runc would have: it writes it last of all."""
    if opened is None or os.path.exists(journal.pid_file):
        return
    aside = f"{journal.pid_file}.glowplug"
    with open(aside, "w") as file:
        file.write(str(opened[0]))
    os.rename(aside, journal.pid_file)
