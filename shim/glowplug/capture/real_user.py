"""As whom CRIU dumps where the node's root lacks CAP_SYS_RESOURCE, as in many containers and sandboxes.

CRIU reads the resource limits of each process, and the kernel shows them (prlimit(2), kernel/sys.c,
check_prlimit_permission) to who has that capability, or to who has as its *real* ids those that the process
has as all of its own. So CRIU runs with root's effective ids and the process's real ones; to processes of
several users no such CRIU fits.
"""

from collections.abc import Iterable

from glowplug.errors import UsageError
from glowplug.host import process

CAP_SYS_RESOURCE = 24  # uapi/linux/capability.h
ROOT = (0, 0)

Ids = tuple[int, int]


def of(pids: Iterable[int]) -> Ids | None:
    """The real (uid, gid) that CRIU needs for these processes (host pids); None: those that we have.

    Raises UsageError where no user will do.
    """
    if process.effective_capabilities("self") >> CAP_SYS_RESOURCE & 1:
        return None
    found = {ids for pid in pids for ids in _all_of(pid)}
    if len(found) > 1:
        users = ", ".join(f"{uid}:{gid}" for uid, gid in sorted(found))
        raise UsageError(
            f"this container can't be captured: its processes run as several users ({users}), whose limits only "
            "a root with CAP_SYS_RESOURCE may read: give it that capability"
        )
    return None if found <= {ROOT} else found.pop()


def _all_of(pid: int) -> set[Ids]:
    """Real, effective and saved ids of one process; nothing for one that is gone."""
    try:
        facts = process.credentials(pid)
    except OSError:
        return set()
    return set(zip(facts.uids[:3], facts.gids[:3], strict=True))
