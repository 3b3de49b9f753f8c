"""One container in the agent's table: its state, when it is looked at next, and what is known of it so far.

    new ──→ created ──→ waiting ⇄ ready ──→ capturing ──→ finished
      │         │          └─────→ keeping ←────┘
      │         └─────→ waking ─────────────────────────→ finished
      └──→ foreign

`keeping`: it is not captured, and once it is ready its compile caches are kept; then it is finished.
`finished`: nothing is to be done for it any more. `foreign`: none of ours. A container id has one life, so neither is
ever left, but with the container.
"""

import math
import time
from dataclasses import dataclass, field
from enum import StrEnum

from glowplug.agent.captures.candidate import Candidate
from glowplug.agent.captures.ready import Ask
from glowplug.agent.captures.running import Running
from glowplug.capture.policy import Policy
from glowplug.checkpoint.judgement import Judgement
from glowplug.containerd.records import ContainerRecord

NEVER = math.inf

Queue = tuple[str, str]
"""Namespace and workload key: containers for which one capture is enough."""


class State(StrEnum):
    """See the module's text."""

    NEW = "new"
    CREATED = "created"
    WAITING = "waiting"
    READY = "ready"
    CAPTURING = "capturing"
    KEEPING = "keeping"
    WAKING = "waking"
    FINISHED = "finished"
    FOREIGN = "foreign"


@dataclass(slots=True)
class Case:
    """A container that waits for its capture or its waking: what the steps have found out about it.

    All times in time.monotonic() seconds. `until`: it is abandoned then. `last_no`: when it was last seen not to be
    ready. `tries`: that came to nothing. `judgement` None: it was restored, and is to be woken, or was not judged.
    """

    candidate: Candidate
    policy: Policy
    running: Running
    judgement: Judgement | None
    until: float
    ask: Ask | None = None
    is_probed: bool = False
    last_no: float | None = None
    tries: int = 0


@dataclass(slots=True)
class Row:
    """`due`: when it is looked at next, in time.monotonic() seconds; NEVER: when something happens.

    `seen`: when something last happened to it. `busy`: a step of it runs; `again`: something happened meanwhile.
    `made`: the agent saw its making. `started`: when containerd said that it was started, in Unix time; `exited`: that
    it ended. `slow`: its last question took long. `case` is its step's alone while one runs.
    """

    id: str
    state: State = State.NEW
    due: float = 0.0
    seen: float = field(default_factory=time.monotonic)
    busy: bool = False
    again: bool = False
    made: bool = False
    started: float | None = None
    exited: bool = False
    slow: bool = False
    failures: int = 0
    record: ContainerRecord | None = None
    case: Case | None = None

    @property
    def queue(self) -> Queue | None:
        """Of one that waits for a capture."""
        if self.case is None or self.case.judgement is None:
            return None
        return self.case.judgement.namespace, self.case.judgement.key.digest

    @property
    def tenant(self) -> str:
        """The namespace, as far as it is known."""
        return self.case.candidate.facts.sandbox_namespace if self.case else ""


@dataclass(frozen=True, slots=True)
class Next:
    """What a step leaves: the state, and in how many seconds the row is looked at again. `gone`: the container is."""

    state: State
    after_s: float = NEVER
    gone: bool = False


FINISHED = Next(State.FINISHED)
FOREIGN = Next(State.FOREIGN)
GONE = Next(State.FINISHED, gone=True)
