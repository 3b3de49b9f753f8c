"""Compile caches for cold starts: which one a container is offered, and one that is kept when a container is ready.

A capture keeps them too (capture/pipeline.py); here it is done for a container that is not captured.
"""

from glowplug.agent.captures.candidate import Candidate
from glowplug.cache import compile_caches
from glowplug.cache.store import Store
from glowplug.capture import compile_cache as saving
from glowplug.capture import resources, subject
from glowplug.checkpoint import compile_cache, requirements
from glowplug.checkpoint.bundle import BundleFacts
from glowplug.checkpoint.requirements import HostFacts
from glowplug.containerd.client import Containerd
from glowplug.errors import GlowplugError
from glowplug.explain import gpus
from glowplug.host import process
from glowplug.outcomes import capture_outcome, report


class CompileCaches:
    """Thread-safe. `salt`: of the workload keys. `host`: this node's facts. `active`: whether the node gives any."""

    def __init__(self, store: Store, salt: bytes, host: HostFacts, *, active: bool) -> None:
        self._store = store
        self._salt = salt
        self._host = host
        self._active = active

    def is_requested(self, facts: BundleFacts) -> bool:
        """Whether the pod asks for it, and the node does it."""
        try:
            return self._active and compile_cache.requested(facts) is not None
        except ValueError:
            return False  # policy.of says what is wrong with it

    def offered(self, facts: BundleFacts, key_digest: str) -> str | None:
        """The pack for a cold start of this container; None where there is none. Raises CacheError."""
        name = compile_cache.name(self._salt, facts.sandbox_namespace, key_digest, self._row(facts))
        return compile_caches.find(self._store.root, name) if name else None

    def keep(self, containerd: Containerd, candidate: Candidate, init: int, key_digest: str) -> None:
        """Of a container that runs; its outcome is recorded.

        Where another one of its workload has left its own since this one began, those are as good: of a burst of pods
        one does the work.
        """
        facts = candidate.facts
        try:
            name = compile_cache.name(self._salt, facts.sandbox_namespace, key_digest, self._row(facts))
            if name and compile_caches.kept_at(self._store.root, name) > process.started_at(init):
                return
            container = saving.Container(facts, init, subject.upper_of(containerd, candidate.record))
            said = saving.keep(self._store, self._salt, key_digest, lambda: self._row(facts), container)
        except (GlowplugError, OSError) as error:
            said = {"detail": str(error)}
        capture_outcome.compile_cache(report.names(candidate.id, facts), said)

    def _row(self, facts: BundleFacts) -> requirements.HostRequirements:
        return requirements.require(self._host, resources.of(facts, gpus.of(facts)))
