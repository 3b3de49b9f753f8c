"""A restored tree of which nothing runs yet, as the steps at the gate see it.

Used by the runtime: standard library only.
"""

from glowplug.restore.attempt import Attempt

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from glowplug.checkpoint.bundle import BundleFacts
    from glowplug.host.process import Credentials


class RestoredTree:
    """`init`: its first process. `tree`: pid in the container → pid here, of every process. `checkpoint`: the
    checkpoint's directory. `facts`: of the bundle that containerd made. `processes`: the captured ones."""

    __slots__ = ("attempt", "checkpoint", "facts", "init", "processes", "tree")

    def __init__(
        self,
        attempt: Attempt,
        checkpoint: str,
        facts: "BundleFacts",
        processes: "list[Credentials]",
        init: int,
        tree: dict[int, int],
    ) -> None:
        self.attempt = attempt
        self.checkpoint = checkpoint
        self.facts = facts
        self.processes = processes
        self.init = init
        self.tree = tree
