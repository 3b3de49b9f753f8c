"""What a run of the demo measured, and what it has to meet. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from glowplug.cli.bars import Phase


@dataclass(frozen=True, slots=True)
class Start:
    """One start of the pod.

    `seconds`: from the StartContainer call to the first correct answer, to the millisecond: figures rounded
    from it further, in the table and by those who read the JSON, then agree.
    """

    seconds: float
    answer: Sequence[str]
    token: str
    outcome: str
    detail: str
    phases: Sequence[Phase] = field(default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "seconds", round(self.seconds, 3))


@dataclass(frozen=True, slots=True)
class Figures:
    """Both starts of the same pod, and the checkpoint between them. `captured_by`: command or agent."""

    cold: Start
    restore: Start
    checkpoint_bytes: int
    captured_by: str = "command"

    @property
    def speedup(self) -> float:
        """How many times faster the second start was."""
        return self.cold.seconds / self.restore.seconds

    @property
    def same_answer(self) -> bool:
        """Whether both said the same."""
        return list(self.cold.answer) == list(self.restore.answer)

    @property
    def same_token(self) -> bool:
        """Whether the second start is the first one's process: it alone knew the token."""
        return self.cold.token == self.restore.token

    def mismatch(self) -> str:
        """What is not as it must be, in one line; empty when all is."""
        if self.restore.outcome != "restored":
            why = f": {self.restore.detail}" if self.restore.detail else ""
            return f"expected the second start to be restored, its outcome is {self.restore.outcome}{why}"
        if not self.same_answer:
            return f"expected the same answer after the restore, got {self.restore.answer!r}, not {self.cold.answer!r}"
        if not self.same_token:
            return (
                "expected the token that the first process drew, the second start answered with another one"
            )
        return ""

    def as_json(self) -> dict[str, object]:
        """What --json writes. `phases` are the restore's; times in seconds."""
        return {
            "cold_s": self.cold.seconds,
            "restore_s": self.restore.seconds,
            "speedup": round(self.speedup, 2),
            "outcome": self.restore.outcome,
            "same_answer": self.same_answer,
            "same_token": self.same_token,
            "checkpoint_bytes": self.checkpoint_bytes,
            "captured_by": self.captured_by,
            "phases": _lengths(self.restore.phases),
            "cold_phases": _lengths(self.cold.phases),
        }


def cold_phases(
    started_s: float, sent_s: float, answered_s: float, server: Mapping[str, float]
) -> list[Phase]:
    """The phases of a cold start.

    `started_s`: when StartContainer returned; `sent_s`, `answered_s`: when the question that was answered was
    sent, and when it was; `server`: what the server says of its own start, in order.
    """
    boot_s = max(0.0, sent_s - started_s - sum(server.values()))
    lengths = {"create": started_s, "python": boot_s, **server}
    return in_a_row(lengths, answered_s, "first answer")


def restore_phases(
    started_s: float, answered_s: float, runtime_began_s: float, runtime_s: float, steps: Mapping[str, float]
) -> list[Phase]:
    """The phases of a restore: containerd before and after the runtime, and within it the steps of its record."""
    before_s = max(0.0, runtime_began_s)
    within_s = max(0.0, runtime_s - sum(steps.values()))
    after_s = max(0.0, started_s - before_s - runtime_s)
    lengths = {"containerd": before_s, **steps, "runtime": within_s, "start": after_s}
    return in_a_row(lengths, answered_s, "first answer")


def in_a_row(lengths: Mapping[str, float], end_s: float, last: str) -> list[Phase]:
    """Phases one after the other; `last` is the rest, up to `end_s`."""
    found = []
    begin_s = 0.0
    for name, length_s in lengths.items():
        length_s = min(length_s, max(0.0, end_s - begin_s))
        found.append(Phase(name, begin_s, length_s))
        begin_s += length_s
    return [*found, Phase(last, begin_s, max(0.0, end_s - begin_s))]


def _lengths(phases: Sequence[Phase]) -> dict[str, float]:
    return {phase.name: round(phase.length_s, 4) for phase in phases}
