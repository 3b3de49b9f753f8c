"""Rights that a thread gave up by Landlock, and would have again after a restore: CRIU does not know it.

Only a thread that can gain no privileges, or has CAP_SYS_ADMIN, can give up rights (landlock_restrict_self(2)); of
others nobody is asked. Where the architecture or a seccomp filter keeps it from being told, the capture goes on, and
its record says so.
"""

import platform
import subprocess
from collections.abc import Iterator

from glowplug.capture.preflight.tree import Refusal, Tree, named
from glowplug.host import landlock_probe, proc, process

_SYS_ADMIN = 1 << 21


def restricted(tree: Tree) -> Iterator[Refusal]:
    """For each process with such a thread; one of whose threads that can't be told is noted. Where none can be asked
    although the kernel could answer, the capture is refused."""
    of = {thread: pid for pid in tree.pids if _can_be(pid) for thread in proc.tasks(pid)}
    if not of or not landlock_probe.is_on():
        return
    if not landlock_probe.can_ask():
        tree.notes.append(f"whether a process gave up rights by Landlock can't be told on {platform.machine()}")
        return
    try:
        found, unknown = landlock_probe.restricted(tree.pids[0], list(of))
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Refusal(
            "landlock-unknown",
            f"whether {named(tree.pids[0])} and its children gave up rights by Landlock can't be told: {error}: "
            "try again",
        )
        return
    for pid in dict.fromkeys(of[thread] for thread in found):
        yield Refusal(
            "landlock",
            f"{named(pid)} gave up rights by Landlock, and would have them again after a restore: have it do "
            "without, or don't capture this workload (glowplug.dev/capture: never)",
        )
    for pid in dict.fromkeys(of[thread] for thread in unknown):
        tree.notes.append(f"whether {named(pid)} gave up rights by Landlock: its seccomp filter keeps it from telling")


def _can_be(pid: int) -> bool:
    """That of its first thread; privileges that can't be gained are all threads' own, so each is looked at."""
    try:
        return any(_may_restrict(thread) for thread in proc.tasks(pid))
    except OSError:
        return False


def _may_restrict(thread: int) -> bool:
    no_new = proc.status(thread).get("NoNewPrivs") == "1"
    return no_new or bool(process.effective_capabilities(thread) & _SYS_ADMIN)
