"""One container's turn in its line: waited for until it is ready, and what is to be captured then."""

import threading
import time
from dataclasses import dataclass

from glowplug.agent import ready
from glowplug.agent.candidate import Candidate
from glowplug.agent.capture_task import Task
from glowplug.agent.policy import Policy
from glowplug.agent.ready import Answer, Ask
from glowplug.agent.running import Running
from glowplug.capture.request import Request
from glowplug.checkpoint.judgement import Judgement
from glowplug.checkpoint.requirements import asks_for_gpu
from glowplug.config import Config
from glowplug.containerd.cri import Cri

SLICE_S = 15.0
"""So long one container is watched before the next one of the same workload has its turn."""
SEEN_AT_ONCE_S = 1.0

Line = tuple[str, str]
"""Namespace and workload key."""


@dataclass(slots=True)
class Waiting:
    """A container in line, until `until`. `ask`: made at its first turn; `last_no`: when it was last seen not to be
    ready. All times in time.monotonic() seconds."""

    candidate: Candidate
    policy: Policy
    identity: Judgement
    until: float
    running: Running | None = None
    ask: Ask | None = None
    last_no: float | None = None

    @property
    def line(self) -> Line:
        """The line that it stands in."""
        return self.candidate.facts.sandbox_namespace, self.identity.key.digest


def wait(waiting: Waiting, running: Running, cri: Cri, stopping: threading.Event) -> Answer:
    """Until it is ready or its turn is over ("late"). Raises GlowplugError where it can't be asked."""
    wanted, started = waiting.policy.ready, waiting.candidate.started
    assert wanted is not None  # or it would not stand in line
    began = time.monotonic()
    if waiting.ask is None:
        waiting.ask = ready.question(wanted, running, cri, began if started is None else started)
    until = min(waiting.until, began + SLICE_S)
    found, last_no = ready.wait(waiting.ask, wanted, running, until, stopping)
    if last_no is not None:
        waiting.last_no = last_no
    elif started is not None and began - started < SEEN_AT_ONCE_S:
        waiting.last_no = began
    return found


def cold_start_s(waiting: Waiting, ready_at: float) -> float | None:
    """From its start until it was ready; None where nobody saw it become ready, or `after:` says it."""
    wanted, started = waiting.policy.ready, waiting.candidate.started
    if wanted is None or wanted.kind == "after" or started is None or waiting.last_no is None:
        return None
    return round(ready_at - started, 3) if ready_at - waiting.last_no < 2 * ready.LATEST_S else None


def task(waiting: Waiting, running: Running, config: Config, cold_s: float | None) -> Task:
    """What is to be captured, and how."""
    candidate, policy = waiting.candidate, waiting.policy
    return Task(
        config=config,
        request=request(candidate, policy.max_pause_s, cold_s),
        running=running,
        runc_root=candidate.runc_root,
        pod_uid=candidate.facts.sandbox_uid,
        before=policy.before_capture,
        after=policy.after_capture,
        hook_timeout_s=policy.hook_timeout_s,
        gpu=asks_for_gpu(candidate.facts),
        end=policy.when == "once-and-exit",
    )


def request(candidate: Candidate, max_pause_s: float | None = None, cold_s: float | None = None) -> Request:
    """The container, by all its names."""
    facts = candidate.facts
    return Request(
        namespace=facts.sandbox_namespace,
        pod=facts.sandbox_name,
        container=facts.container_name,
        container_id=candidate.id,
        max_pause_s=max_pause_s,
        cold_start_s=cold_s,
    )
