"""A restored tree of which nothing runs yet, as the steps at the gate see it.

Used by the runtime: standard library only.
"""

from glowplug.restore.attempt import Attempt


class RestoredTree:
    """`init`: its first process. `tree`: pid in the container → pid here, of every process. `checkpoint`: the
    checkpoint's directory. `spec`: of the bundle that containerd made. `manifest`: the checkpoint's."""

    __slots__ = ("attempt", "checkpoint", "init", "manifest", "spec", "tree")

    def __init__(
        self,
        attempt: Attempt,
        checkpoint: str,
        spec: dict[str, object],
        manifest: dict[str, object],
        init: int,
        tree: dict[int, int],
    ) -> None:
        self.attempt = attempt
        self.checkpoint = checkpoint
        self.spec = spec
        self.manifest = manifest
        self.init = init
        self.tree = tree
