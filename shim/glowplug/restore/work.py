"""A restore under way: what its steps share.

Used by the runtime: standard library only.
"""

from __future__ import annotations

import time

from glowplug import paths

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Callable

    from glowplug.checkpoint.bundle import BundleFacts
    from glowplug.checkpoint.oci import Spec
    from glowplug.criu.image_fixups import ImageFixups
    from glowplug.host.process import Credentials
    from glowplug.restore.attempt import Attempt
    from glowplug.restore.charged import Charged
    from glowplug.restore.gpu import Gpu
    from glowplug.restore.memory import Memory
    from glowplug.restore.plan import Plan


class Work:
    """A restore under way.

    `spec`: of the bundle that containerd made; `facts`: what it says. `stdio`: the container's own descriptors.
    `until`: the deadline in time.monotonic() seconds. `new_keyring`: the container gets a session keyring of its own.
    `processes` and `gpus` (UUIDs at the capture) are there after `check`, `fixups` after `image_overlay`, `gpu` only
    where there is CUDA, `shm` while files of /dev/shm are written, `memory` from `criu` on and only where there are
    memory extents.
    `forced`: CRIU leaves to us what is written by force, after `image_overlay`.
    `stopped_before` is there after `criu`: the processes, by their pids in the container, that a signal had stopped
    before the capture; they stay so. `begin_part` is called with the name of what begins inside a step and is a stage
    of its own; `measured` gets its seconds.
    """

    __slots__ = (
        "attempt",
        "begin_part",
        "facts",
        "fixups",
        "forced",
        "gpu",
        "gpus",
        "lease",
        "measured",
        "memory",
        "new_keyring",
        "plan",
        "processes",
        "shm",
        "spec",
        "stdio",
        "stopped_before",
        "until",
    )

    def __init__(
        self,
        attempt: Attempt,
        plan: Plan,
        spec: Spec,
        facts: BundleFacts,
        stdio: tuple[int, int, int],
        until: float,
        new_keyring: bool = True,
    ) -> None:
        self.attempt = attempt
        self.plan = plan
        self.spec = spec
        self.facts = facts
        self.stdio = stdio
        self.until = until
        self.new_keyring = new_keyring
        self.lease = -1
        self.gpu: Gpu | None = None
        self.memory: Memory | None = None
        self.shm: Charged | None = None
        self.forced = False
        self.processes: list[Credentials] = []
        self.gpus: list[str] = []
        self.fixups: ImageFixups | None = None
        self.stopped_before: list[int] = []
        self.begin_part: Callable[[str], None] = lambda name: None
        self.measured: dict[str, float] = {}

    @property
    def checkpoint(self) -> str:
        """The checkpoint's directory."""
        return self.plan.directory

    @property
    def bundle(self) -> str:
        """Our own bundle: the spec that runc restores."""
        return paths.restore_bundle(self.attempt.journal.bundle)

    def left_s(self) -> float:
        """Seconds until the deadline, at least 0."""
        return max(0.0, self.until - time.monotonic())
