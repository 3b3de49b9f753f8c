"""Work done by a child of ours in the pod's memory cgroup, so that what it writes into the pod's tmpfs is the pod's.

Pages of a tmpfs are charged to the group of the process that writes them first. The runtime is in containerd's:
gigabytes of a pod's /dev/shm would count against the limit of containerd's unit, and not against the pod's.

Used by the runtime: standard library only.
"""

from __future__ import annotations

import os

from glowplug.errors import GlowplugError, HostError, LayerError
from glowplug.host import cgroup, cgroup_fork, process_life
from glowplug.restore.attempt import Attempt

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Callable

REPORTED_BYTES = 1 << 16


def in_pod(attempt: Attempt, work: Callable[[], None]) -> None:
    """Have `work` done there. Where there is no such group it is done all the same, and charged as it comes.

    Raises LayerError with the words of what it raises.
    """
    Charged(attempt, work).wait()


class Charged:
    """The child that does it, from its start until `wait`; or `end`, on every other way out."""

    def __init__(self, attempt: Attempt, work: Callable[[], None]) -> None:
        """Raises OSError where there can be no child."""
        self._hear, say = os.pipe()
        parent = os.getpid()
        self._pid, is_inside = _fork(attempt.journal.cgroups_path, attempt.journal.systemd_cgroup)
        if self._pid == 0:
            status = 1
            try:
                process_life.die_with_parent(parent)
                os.close(self._hear)
                if not is_inside:
                    enter(attempt.journal.cgroups_path, attempt.journal.systemd_cgroup)
                work()
                status = 0
            except (GlowplugError, OSError) as error:
                os.write(say, str(error).encode(errors="replace")[:REPORTED_BYTES])
            except Exception as error:  # noqa: BLE001 - said by the one who waits for us
                os.write(say, f"{type(error).__name__}: {error}".encode(errors="replace")[:REPORTED_BYTES])
            finally:
                os._exit(status)
        os.close(say)

    def wait(self) -> None:
        """Until it is done. Raises LayerError with the words of what `work` raised."""
        said = b""
        while more := os.read(self._hear, 4096):
            said += more
        status = self._reap()
        if status != 0:
            raise LayerError(
                said.decode(errors="replace") or f"the process that wrote it ended with status {status}"
            )

    def end(self) -> None:
        """Kill it, unless it was waited for: nothing is written any more then."""
        if self._pid:
            os.kill(self._pid, process_life.SIGKILL)
            self._reap()

    def _reap(self) -> int:
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        os.close(self._hear)
        self._pid = 0
        return status


def _fork(cgroups_path: str, systemd: bool) -> tuple[int, bool]:
    """As os.fork; and whether the child is in the group already, which is quicker than to enter it (cgroup_fork)."""
    try:
        if cgroup.version() == 2:
            directory = cgroup.memory_groups(cgroups_path, systemd)[0]
            _make(directory)
            return cgroup_fork.fork_into(directory), True
    except (HostError, OSError, IndexError):
        pass  # no such group, or a kernel that is too old for this
    return os.fork(), False


def enter(cgroups_path: str, systemd: bool) -> bool:
    """Move this process into the memory group that the container belongs to; False where that can't be.

    On v1 it is the pod's. On v2, where a group with children has no processes, it is the container's own, made here as
    runc will find it.
    """
    for directory in cgroup.memory_groups(cgroups_path, systemd):
        try:
            if cgroup.version() == 2:
                _make(directory)
            with open(f"{directory}/cgroup.procs", "w") as file:
                file.write("0")  # who writes it
        except (HostError, OSError):
            continue
        return True
    return False


def _make(directory: str) -> None:
    """A group of cgroup v2, as runc will find it, where it is not there yet. Raises OSError."""
    if not os.path.isdir(directory):
        os.mkdir(directory, 0o755)
