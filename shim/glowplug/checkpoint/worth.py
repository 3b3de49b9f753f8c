"""Whether a restore is worth it: predicted against the cold start's measured duration and the deadline.

This is about speed, not about trust: what is not known here never lets a wrong checkpoint through, so it does
not refuse either. A cold start that was never measured counts as slower than any restore, or the first
checkpoint would never be used; a rate that was never measured counts as the lowest seen on real machines, for
each core that works at it, with which the deadline is still compared.
"""

from dataclasses import dataclass

from glowplug.checkpoint.reason import Reason

DEADLINE_S = 60.0  # of a restore, inside the kubelet's two minutes
FIXED_S = 0.3  # runc and CRIU without memory: 0.25 to 0.28 s measured for a shell
UNMEASURED_READ = 200e6  # bytes per second, a slow network disk
UNMEASURED_FILL = 800e6  # bytes per second and core, first touch of a virtual machine's memory
FILLING = 16  # cores at most that fill memory (criu/fill.py)


@dataclass(frozen=True, slots=True)
class NodeRates:
    """Measured on this node, in bytes per second; None: not measured yet. `cores`: how many it has."""

    read: float | None = None  # checkpoint files that the page cache does not have
    fill: float | None = None  # memory of a process
    cores: int = 1


@dataclass(frozen=True, slots=True)
class Prediction:
    """Seconds. `cold_s` None: never measured. `unread_bytes`: what the disk has to give for it."""

    restore_s: float
    cold_s: float | None
    deadline_s: float
    unread_bytes: int = 0

    @property
    def is_worth_it(self) -> bool:
        """Whether the restore meets its deadline and is faster than a cold start, where that is known."""
        return self.restore_s <= self.deadline_s and (self.cold_s is None or self.restore_s < self.cold_s)

    @property
    def reason(self) -> Reason | None:
        """Why the restore is not worth it; None when it is."""
        if self.is_worth_it:
            return None
        late = self.restore_s > self.deadline_s
        limit = f"the deadline of {self.deadline_s:.0f} s" if late else f"a cold start of {self.cold_s:.1f} s"
        return Reason("predicted gain", f"less than {limit}", f"{self.restore_s:.1f} s", "restore-slower")


def predict(
    memory_bytes: int,
    unread_bytes: int,
    cold_s: float | None,
    rates: NodeRates,
    restores_running: int,
    deadline_s: float = DEADLINE_S,
) -> Prediction:
    """The prediction for one restore.

    `memory_bytes` are written into the process, `unread_bytes` of the files are not in the page cache.
    Restores that already run share the node's rates with this one.
    """
    share = 1 + max(0, restores_running)
    read = unread_bytes / _rate(rates.read, UNMEASURED_READ)
    fill = memory_bytes / _rate(rates.fill, UNMEASURED_FILL * min(rates.cores, FILLING))
    return Prediction(FIXED_S + (read + fill) * share, cold_s, deadline_s, unread_bytes)


def _rate(measured: float | None, otherwise: float) -> float:
    return measured if measured is not None and measured > 0 else otherwise
