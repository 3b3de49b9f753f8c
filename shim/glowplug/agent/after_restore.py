"""The hook after a restore: what a restored workload is told once it runs, such as to wake an engine.

Never from inside `create`, which it would hold up. That it was done stands in the history, so that an agent
that comes back does neither forget nor repeat it.
"""

import logging
from concurrent.futures import Future, ThreadPoolExecutor

from glowplug.agent import hooks, intake
from glowplug.agent.candidate import Candidate
from glowplug.agent.history import History
from glowplug.agent.policy import Hook, Policy
from glowplug.agent.running import look_up
from glowplug.cache.store import Store
from glowplug.containerd.client import Containerd
from glowplug.containerd.cri import Cri
from glowplug.errors import GlowplugError
from glowplug.runtime import outcome

log = logging.getLogger("glowplug.agent")

EVENT = "after-restore"
AT_ONCE = 8


class AfterRestore:
    """Thread-safe."""

    def __init__(self, containerd: Containerd, cri: Cri, store: Store, history: History) -> None:
        self._containerd = containerd
        self._cri = cri
        self._store = store
        self._history = history
        self._threads = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="after-restore")

    def begin(self, candidate: Candidate, policy: Policy) -> None:
        """In a thread; nothing where its pod wants nothing, or had it."""
        if policy.after_restore is None:
            return
        intake.take_in(self._store, self._history)
        if any(record.get("event") == EVENT for record in self._history.records(candidate.id)):
            return
        self._threads.submit(
            self._run, candidate, policy.after_restore, policy.hook_timeout_s
        ).add_done_callback(_log_failure)

    def close(self) -> None:
        """Those that have not begun are left to the next agent."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, candidate: Candidate, hook: Hook, timeout_s: float) -> None:
        running = look_up(self._containerd, candidate.record, candidate.facts)
        if running is None:
            return
        said: dict[str, object] = {"result": "done"}
        try:
            hooks.run(hook, running, self._containerd, self._cri, timeout_s)
        except GlowplugError as error:
            said = {"result": "failed", "detail": str(error)}
        facts = candidate.facts
        outcome.append(
            {
                "event": EVENT,
                "container_id": candidate.id,
                "namespace": facts.sandbox_namespace,
                "pod": facts.sandbox_name,
                "container": facts.container_name,
                **said,
            }
        )


def _log_failure(done: "Future[None]") -> None:
    if not done.cancelled() and (error := done.exception()):
        log.error("the hook after a restore could not be run: %s", error)
