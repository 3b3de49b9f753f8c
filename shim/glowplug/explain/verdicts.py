"""A container's spec compared with every checkpoint that its namespace may use, on this node, at this moment.

What the agent answers at a start is made by the same package (explain/judge.py) from the same facts.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass

from glowplug import presets
from glowplug.cache.store import Store
from glowplug.capture import identity
from glowplug.capture import judged as kept
from glowplug.checkpoint import explain, sharing, verdict
from glowplug.checkpoint.bundle import BundleFacts
from glowplug.checkpoint.requirements import HostFacts
from glowplug.checkpoint.verdict import Candidate
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.containerd.records import ContainerRecord
from glowplug.criu import program
from glowplug.errors import CriuError
from glowplug.explain.judge import Judge
from glowplug.host import facts
from glowplug.outcomes import history
from glowplug.outcomes.rates import Rates
from glowplug.registry import fleet, lookups
from glowplug.registry.lookups import LookUp


@dataclass(frozen=True, slots=True)
class Judged:
    """`against`: rules that keep it from any restore. `unknown`: parts of its key that can't be known.

    `candidates`: nearest first. `why`: the choice among them, or why there is none, in a sentence. `registry`: what
    came of the last look into it.
    """

    namespace: str
    against: tuple[tuple[str, str], ...]
    unknown: tuple[tuple[str, str], ...]
    candidates: tuple[Candidate, ...]
    chosen: str | None
    why: str
    registry: LookUp | None = None


class Judging:
    """What every question of one command shares. Raises CacheError."""

    def __init__(self, config: Config, containerd: Containerd, store: Store) -> None:
        self.store = store
        self._config = config
        self.host = host(config)
        self._containerd = containerd
        self._judge = Judge(config, containerd, store, self.host, Rates(history.read(config.cache)))
        self.salt = fleet.salt(config.registry, store)

    def accepts(self, annotations: Mapping[str, str], namespace: str) -> frozenset[str]:
        """The other namespaces whose shared checkpoints such a pod takes."""
        return sharing.accepted(annotations, self._config.sharing, namespace)

    def judge(self, record: ContainerRecord, facts: BundleFacts, *, exists: bool = True) -> Judged:
        """`exists` False: containerd has no such container, and the record is a stand-in. ContainerdError.

        Of one that was judged at its create, those answers are taken; of others they are made now.
        """
        known = kept.of(record.id) if exists else None
        found = known or identity.of(
            self._containerd, record, facts, self.salt, extras=presets.extras(self._config.presets, facts)
        )
        against = found.against if exists else tuple(one for one in found.against if one[0] != "snapshotter")
        entries = self.store.index.of_namespace(
            facts.sandbox_namespace, self.accepts(facts.annotations, facts.sandbox_namespace)
        )
        candidates = self._judge.candidates(entries, record if exists else None, facts, found.key)
        chosen, why = verdict.choose(candidates)
        if against:
            chosen, why = None, f"no checkpoint is looked for: {against[0][1]}"
        return Judged(
            facts.sandbox_namespace,
            against,
            tuple(
                (part, what + found.files.because(part.removeprefix("mount ")))
                for part, what in found.key.unknown.items()
            ),
            tuple(nearest_first(candidates)),
            chosen.id if chosen else None,
            why,
            lookups.read(facts.sandbox_namespace, found.key.digest) if found.key.digest else None,
        )


def nearest_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that match, then those with the fewest reasons; among equals the newest."""
    newest = sorted(sorted(candidates, key=lambda one: one.id), key=lambda one: one.created, reverse=True)
    return sorted(newest, key=lambda one: len(one.verdict.reasons))


def plain(judged: Judged) -> dict[str, object]:
    """For --json."""
    rows = {str(row["checkpoint"]): row for row in explain.candidate_rows(judged.candidates)}
    return {
        "namespace": judged.namespace,
        "against": [{"slug": slug, "sentence": sentence} for slug, sentence in judged.against],
        "unknown": [{"part": part, "what": what} for part, what in judged.unknown],
        "chosen": judged.chosen,
        "why": judged.why,
        "registry": asdict(judged.registry) if judged.registry else None,
        "candidates": [rows[one.id] for one in judged.candidates],
    }


def host(config: Config) -> HostFacts:
    """This node's facts; CRIU's version is not known where it is not there."""
    version = None
    with suppress(CriuError):
        version = ".".join(map(str, program.version(config.criu)))
    return facts.read(version)
