"""The processes of a container as the checks look at them."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from glowplug.host import descriptors, proc, thread_probe
from glowplug.host.descriptors import Descriptor
from glowplug.host.thread_probe import Probed


class Refusal(NamedTuple):
    """Why a capture is refused. `slug`: in a word; `sentence`: who holds what, and what to do."""

    slug: str
    sentence: str


@dataclass(frozen=True)
class Tree:
    """`pids`: of the node, parents first, without zombies. `root`: the container's root directory on the node. `notes`:
    what a check could not decide and lets be, for the record of the capture. `before`: what its threads said of
    themselves when they were queried earlier."""

    pids: list[int]
    root: str
    notes: list[str] = field(default_factory=list)
    before: Probed | None = None

    @cached_property
    def descriptors(self) -> list[Descriptor]:
        """All that they have open, looked up once."""
        return descriptors.of(self.pids)

    @cached_property
    def probed(self) -> Probed:
        """What its threads say of themselves, where there is something to say; none on a machine that can't be queried.

        Raises OSError, subprocess.TimeoutExpired.
        """
        if not self.pids or not thread_probe.can_call():
            return Probed((), frozenset())
        threads = [thread for pid in self.pids for thread in proc.tasks(pid)]
        return thread_probe.ask_again(self.pids[0], threads, self.before)

    @property
    def own_settings(self) -> dict[int, dict[str, int]]:
        """Thread → its settings that have to be set again (host/own_settings.py)."""
        return {one.thread: one.settings for one in self.probed.found if one.settings}

    @cached_property
    def sockets(self) -> list[Descriptor]:
        """Each socket once."""
        found: dict[int, Descriptor] = {}
        for one in self.descriptors:
            if one.target.startswith("socket:["):
                found.setdefault(one.inode, one)
        return list(found.values())


def shown(pid: int) -> str:
    """`process 4711 (nginx)`, with the node's pid."""
    return f"process {pid} ({proc.name(pid)})"
