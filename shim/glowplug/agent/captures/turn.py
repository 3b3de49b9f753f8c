"""One container's turn to be captured: what the process that captures has to do."""

from glowplug.agent.captures import ready
from glowplug.agent.captures.candidate import Candidate
from glowplug.agent.captures.running import Running
from glowplug.agent.captures.task import Task
from glowplug.capture.policy import Policy, Ready
from glowplug.capture.request import Request
from glowplug.checkpoint.requirements import asks_for_gpu
from glowplug.config import Config


def cold_start_s(
    wanted: Ready | None, started: float | None, last_no: float | None, ready_at: float
) -> float | None:
    """From its start until it was ready; None where nobody saw it become ready, or `after:` says it.

    All in time.monotonic() seconds; `last_no`: when it was last seen not to be ready.
    """
    if wanted is None or wanted.kind == "after" or started is None or last_no is None:
        return None
    return round(ready_at - started, 3) if ready_at - last_no < 2 * ready.LATEST_S else None


def task(
    candidate: Candidate, policy: Policy, running: Running, config: Config, cold_s: float | None
) -> Task:
    """What is to be captured, and how."""
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
        canary=policy.canary,
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
