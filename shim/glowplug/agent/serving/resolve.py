"""The agent's answer to "what about this container?": a plan to restore, or a slug with the reason.

Every answer is due within the runtime's deadline of one second; an error of ours is a miss.
"""

import logging
from collections.abc import Mapping

from glowplug import presets
from glowplug.agent import ingest
from glowplug.agent.learned import Learned
from glowplug.agent.serving.compile_caches import CompileCaches
from glowplug.agent.serving.preparing import Preparing
from glowplug.agent.serving.registry_work import RegistryWork
from glowplug.agent.serving.renewals import Renewals
from glowplug.cache.store import Store
from glowplug.capture import judged, policy, resources
from glowplug.capture.policy import is_chosen
from glowplug.capture.readers import READERS
from glowplug.checkpoint import bundle, key, mounts, requirements, verdict
from glowplug.checkpoint import judgement as judgements
from glowplug.checkpoint.eligible import RESTORE
from glowplug.checkpoint.judgement import Judgement
from glowplug.checkpoint.oci import Spec
from glowplug.checkpoint.requirements import HostFacts
from glowplug.checkpoint.verdict import Candidate
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.containerd.records import ContainerRecord
from glowplug.errors import CaptureRefused, CudaError, HostError, UsageError
from glowplug.explain import gpus
from glowplug.explain.judge import JUDGED, Judge
from glowplug.outcomes.history import History
from glowplug.outcomes.rates import Rates
from glowplug.registry import fleet

log = logging.getLogger("glowplug.agent")

Answer = dict[str, object]

NO_CHECKPOINT = "no checkpoint of this workload for this namespace; `glowplug explain` says what differs"


class Resolver:
    """Thread-safe. `host`: this node's facts. `verdicts`: what it asks of each checkpoint."""

    def __init__(
        self,
        config: Config,
        containerd: Containerd,
        store: Store,
        history: History,
        host: HostFacts,
        learned: Learned,
        registry: RegistryWork | None = None,
    ) -> None:
        self._registry = registry
        self._host = host
        self._config = config
        self._containerd = containerd
        self._store = store
        self._history = history
        self._learned = learned
        rates = Rates(history.records())
        history.reporters.append(rates.report)
        self.verdicts = Judge(config, containerd, store, host, rates)
        self._renewals = Renewals()
        self._preparing = Preparing()
        self._salt = fleet.salt(config.registry, store)
        self.compile_caches = CompileCaches(store, self._salt, host, active=config.mode == "on")
        store.index.all()  # read now what else the first question would wait for
        READERS.start()

    def answer(self, question: Mapping[str, object]) -> Answer:
        """`{"op": "resolve", "container": ID, "bundle": DIRECTORY}` → `{"verdict": "match", …}` or a miss."""
        container, directory = question.get("container"), question.get("bundle")
        if not isinstance(container, str) or not isinstance(directory, str):
            raise UsageError("expected container and bundle as text")
        spec = judged.spec_in(directory)
        self._preparing.wait(container)
        return self.judge(self._containerd.container(container), spec, bundle.read(spec))

    def prepare(self, record: ContainerRecord, spec: Spec, facts: bundle.BundleFacts) -> Answer:
        """`judge`, for a container that was made just now: a start that comes meanwhile waits for it."""
        with self._preparing.begin(record.id):
            gpus.read_ahead(facts)
            return self.judge(record, spec, facts)

    def judgement(self, record: ContainerRecord, spec: Spec, facts: bundle.BundleFacts) -> Judgement:
        """The one that was made of this spec, or a new one, which is kept. Raises ContainerdError."""
        known = judged.of(record.id)
        # What could not be known in time, on a busy node, may be known now.
        if (
            known is not None
            and not known.key.unknown
            and known.spec == judgements.spec_hash(self._salt, spec)
        ):
            return known
        chosen = is_chosen(facts, self._config.capture_default_scope)
        extras = presets.extras(self._config.presets, facts)
        made = judged.judge(self._containerd, record, spec, facts, self._salt, extras, chosen=chosen)
        try:
            judged.keep(made)
        except OSError as error:
            log.error(
                "the judgement of container %s can't be kept, so it is not captured: %s", record.id, error
            )
        return made

    def judge(self, record: ContainerRecord, spec: Spec, facts: bundle.BundleFacts) -> Answer:
        """The answer for a container that is about to be started. `spec`: what `facts` were read from.

        `compile_cache`: what a cold start is to find, should it come to that (restore/give_compile_cache.py).
        """
        answer = self._judge(record, spec, facts)
        if answer["verdict"] == "wait" or not self.compile_caches.is_requested(facts):
            return answer
        pack = self.compile_caches.offered(facts, self.judgement(record, spec, facts).key.digest)
        return {**answer, "compile_cache": pack} if pack else answer

    def _judge(self, record: ContainerRecord, spec: Spec, facts: bundle.BundleFacts) -> Answer:
        if self._config.mode == "off":
            return _miss("off", "the node's configuration turns restores off (mode)")
        ingest.take_in(self._store, self._history)
        if self._history.has_restored(facts.sandbox_id, facts.container_name):
            return _miss("container-restart", "an earlier start of this container in this pod was a restore")
        judgement = self.judgement(record, spec, facts)
        for slug, sentence in judgement.objections():
            return _miss(slug, sentence)
        resting = self._learned.restore_objection(judgement.workload)
        if resting:
            return _miss("backing-off", resting)
        accepts = self.verdicts.accepts(facts)
        entries = self._store.index.find(facts.sandbox_namespace, judgement.key.digest, accepts)
        if not entries:
            return self._missed(record, facts, judgement, self._no_checkpoint(facts, judgement))
        candidates = self.verdicts.candidates(entries[:JUDGED], record, facts, judgement.key)
        chosen, why = verdict.choose(candidates)
        if chosen is None:
            miss = _miss(verdict.miss_slug(candidates), why)
            return self._missed(
                record, facts, judgement, {**miss, "worth_if_read": verdict.worth_if_read(candidates)}
            )
        if "observe" in (facts.annotations.get(RESTORE), self._config.mode):
            return _miss("observed", f"would have restored: {why}")
        try:
            device_map = gpus.map_to(self.verdicts.manifest(chosen.id), gpus.of(facts) or ())
        except (CudaError, HostError) as error:
            return _miss("gpu", str(error))
        if not chosen.verdict.exact and self._is_recaptured(record, facts, judgement):
            return _miss(
                "limits-raised", f"{chosen.id} would fit; started cold to be captured with its new limits"
            )
        return {**self._plan(facts, chosen, why), "device_map": device_map}

    def _is_recaptured(
        self, record: ContainerRecord, facts: bundle.BundleFacts, judgement: Judgement
    ) -> bool:
        """Whether it is to be captured with its own limits, and no other container of its workload is (rule 8.2)."""
        try:
            wanted = policy.of(facts, policy.when(self._config.capture), presets.known(self._config.presets))
            self._learned.require_capture(judgement.workload)
        except (policy.BadAnnotation, CaptureRefused):
            return False
        if (
            not judgement.chosen
            or wanted.when == "never"
            or wanted.ready is None
            or self._config.mode != "on"
        ):
            return False
        limited = resources.of(facts, None)
        limits = tuple(getattr(limited, name) for name in requirements.LIMITS)
        return self._renewals.is_turn_of(record.id, (facts.sandbox_namespace, judgement.key.digest, *limits))

    def _no_checkpoint(self, facts: bundle.BundleFacts, judgement: Judgement) -> Answer:
        """Rule 2.1: where there is one that an older Glowplug made of such a container, it misses for that."""
        image, version = str(judgement.key.parts["image"]), key.RULES_VERSION
        old = self._store.index.of_other_rules(facts.sandbox_namespace, image, facts.container_name, version)
        if old is None:
            return _miss("no-checkpoint", NO_CHECKPOINT)
        return _miss(
            "rules",
            f"the matching rules of checkpoint {old.id} are of version {old.rules}, and those of this Glowplug of "
            f"version {version}: the container has to be captured again",
        )

    def _missed(
        self, record: ContainerRecord, facts: bundle.BundleFacts, judgement: Judgement, miss: Answer
    ) -> Answer:
        """What the registry says to it: it may have what this node does not have, for a later start or for this one."""
        if self._registry is None:
            return miss
        row = requirements.require(self._host, resources.of(facts, gpus.of(facts)))
        said = self._registry.missed(record.id, facts, judgement.key.digest, row)
        if said is None:
            return miss
        slug, detail, waits = said
        has_none = miss["slug"] in ("no-checkpoint", "rules")
        answer = {**miss, "slug": slug, "detail": detail} if has_none else miss
        return {**answer, "verdict": "wait"} if waits else answer

    def _plan(self, facts: bundle.BundleFacts, chosen: Candidate, why: str) -> Answer:
        """All that the runtime needs to know; it reads no configuration of its own."""
        return {
            "verdict": "match",
            "checkpoint": chosen.id,
            "why": why,
            "cache": self._config.cache,
            "criu": self._config.criu,
            "deadline_s": self._config.restore_deadline_s,
            "unread_bytes": chosen.verdict.prediction.unread_bytes if chosen.verdict.prediction else 0,
            "shm": mounts.shared_memory(facts),
            "uts": facts.namespaces.get("uts", ""),
        }


def _miss(slug: str, detail: str) -> Answer:
    return {"verdict": "miss", "slug": slug, "detail": detail}
