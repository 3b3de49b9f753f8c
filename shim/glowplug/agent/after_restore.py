"""The hook after a restore: what a restored workload is told once it runs, such as to wake an engine.

Never from inside `create`, which it would hold up. That it was done stands beside the restore's marker, which goes
with the container: an agent that comes back does neither forget nor repeat it, however long ago it was.
"""

import logging
import os
import threading
import time

from glowplug import paths
from glowplug.agent import hooks
from glowplug.agent.candidate import Candidate
from glowplug.agent.policy import Hook, Policy
from glowplug.agent.running import Running, look_up
from glowplug.containerd.client import Containerd
from glowplug.containerd.cri import Cri
from glowplug.errors import ContainerdError, GlowplugError
from glowplug.runtime import outcome

log = logging.getLogger("glowplug.agent")

EVENT = "after-restore"
AT_ONCE = 64
"""So many that a few servers that do not answer keep no other from being woken."""
CONTAINERD_BACK_S = 1.0


class AfterRestore:
    """Thread-safe. Its threads are daemons: a server that takes its time to wake holds up no agent that ends."""

    def __init__(self, containerd: Containerd, cri: Cri) -> None:
        self._containerd = containerd
        self._cri = cri
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._stopping = threading.Event()

    def begin(self, candidate: Candidate, policy: Policy) -> None:
        """In a thread; nothing where its pod wants nothing, or had it."""
        if policy.after_restore is None or os.path.exists(paths.hooked(candidate.runc_root, candidate.id)):
            return
        threading.Thread(
            target=self._run,
            args=(candidate, policy.after_restore, policy.hook_timeout_s),
            name="after-restore",
            daemon=True,
        ).start()

    def close(self) -> None:
        """Returns at once. Those that have not ended are left to the next agent."""
        self._stopping.set()

    def _run(self, candidate: Candidate, hook: Hook, timeout_s: float) -> None:
        with self._slots:
            try:
                said = self._said(candidate, hook, timeout_s)
            except ContainerdError as error:
                said = {"result": "failed", "detail": str(error)}
        if said is None or self._stopping.is_set():
            return
        facts = candidate.facts
        outcome.append(
            {
                "event": EVENT,
                "container_id": candidate.id,
                "namespace": facts.sandbox_namespace,
                "pod": facts.sandbox_name,
                "pod_uid": facts.sandbox_uid,
                "container": facts.container_name,
                **said,
            }
        )
        _remember(candidate)

    def _said(self, candidate: Candidate, hook: Hook, timeout_s: float) -> dict[str, object] | None:
        """What came of it; None where the container has ended, or the agent ends. Raises ContainerdError."""
        running = self._looked_up(candidate, time.monotonic() + timeout_s)
        if running is None:
            return None
        try:
            hooks.run(hook, running, self._containerd, self._cri, timeout_s)
        except GlowplugError as error:
            return {"result": "failed", "detail": str(error)}
        return {"result": "done"}

    def _looked_up(self, candidate: Candidate, until: float) -> Running | None:
        """A containerd that is away is waited for. Raises ContainerdError."""
        while not self._stopping.is_set():
            try:
                return look_up(self._containerd, candidate.record, candidate.facts)
            except ContainerdError:
                if time.monotonic() >= until:
                    raise
                self._stopping.wait(CONTAINERD_BACK_S)
        return None


def _remember(candidate: Candidate) -> None:
    try:
        with open(paths.hooked(candidate.runc_root, candidate.id), "w"):
            pass
    except FileNotFoundError:
        return  # the container is gone, and needs no memory
    except OSError as error:
        log.error(
            "container %s: another agent will repeat its hook after the restore: %s", candidate.id, error
        )
