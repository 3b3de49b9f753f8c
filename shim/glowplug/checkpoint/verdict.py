"""The verdict: whether a checkpoint fits a container here and now, with every reason why it does not.

Four questions in turn: may this pod use it, is it the same workload, does the node give what it needs, and is
there space and time now. `judge` asks them all, so that `explain` can show every reason at once; a fact that
is not known is a reason. `choose` picks among several.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from glowplug.checkpoint import conditions
from glowplug.checkpoint.differences import differences
from glowplug.checkpoint.key import WorkloadKey
from glowplug.checkpoint.manifest import Manifest
from glowplug.checkpoint.reason import UNKNOWN, Reason
from glowplug.checkpoint.requirements import ContainerResources, HostFacts, compare, has_same_limits, require
from glowplug.checkpoint.worth import DEADLINE_S, NodeRates, Prediction, predict


@dataclass(frozen=True, slots=True)
class Now:
    """What holds at this moment. None: not known, which fits nothing; `rates` alone may be unmeasured."""

    namespace: str  # of the pod that starts
    accepts: frozenset[str] = frozenset()  # other namespaces whose shared checkpoints it takes
    quarantined: bool | None = None
    complete: bool | None = None  # every file of the manifest is there with its size
    free_memory: int | None = None  # bytes that the node can give (MemAvailable)
    free_disk: int | None = None  # bytes on the file system of the container's writable layer
    restores_running: int | None = None
    unread_bytes: int | None = None  # of the files that the page cache does not have
    rates: NodeRates = field(default_factory=NodeRates)
    deadline_s: float = DEADLINE_S


@dataclass(frozen=True, slots=True)
class Verdict:
    """Match, or all the reasons. `prediction` is None when what it rests on is not known.

    `own`: of the pod's own namespace. `exact`: captured with the limits that the pod has; where not, it fits all the
    same, and a new capture would fit better.
    """

    reasons: tuple[Reason, ...]
    prediction: Prediction | None
    own: bool = True
    exact: bool = True

    @property
    def matches(self) -> bool:
        """Whether the checkpoint may be restored: there is no reason against it."""
        return not self.reasons

    @property
    def slug(self) -> str:
        """What an outcome says behind "cold:"; "" for a match."""
        return self.reasons[0].slug if self.reasons else ""


def judge(
    manifest: Manifest, wanted: WorkloadKey, host: HostFacts, resources: ContainerResources, now: Now
) -> Verdict:
    """The verdict on one checkpoint for the container whose key is `wanted`."""
    reasons = _tenancy(manifest, now)
    reasons += _workload(manifest, wanted, now)
    here = require(host, resources)
    reasons += compare(manifest.requirements, here)
    reasons += _state(now)
    reasons += _memory(manifest, now)
    prediction = _prediction(manifest, now)
    if prediction is not None and prediction.reason is not None:
        reasons.append(prediction.reason)
    own = manifest.namespace == now.namespace
    return Verdict(tuple(reasons), prediction, own, has_same_limits(manifest.requirements, here))


def is_visible(manifest: Manifest, namespace: str, accepts: frozenset[str] = frozenset()) -> bool:
    """Rules 7.1, 7.4: whether a pod of this namespace may hear of the checkpoint. Others are in no listing.

    `accepts`: the other namespaces whose shared checkpoints the pod, or its node's administrator for it, takes.
    """
    if not namespace:
        return False
    return manifest.namespace == namespace or (manifest.shared and manifest.namespace in accepts)


def _tenancy(manifest: Manifest, now: Now) -> list[Reason]:
    if is_visible(manifest, now.namespace, now.accepts):
        return []
    return [Reason("namespace", "its own, or both sides to share", "another", "namespace")]


def _workload(manifest: Manifest, wanted: WorkloadKey, now: Now) -> list[Reason]:
    reasons = differences(manifest.key.parts, wanted)
    same_namespace = manifest.namespace == now.namespace
    if reasons and reasons[0].slug == "rules":
        return reasons
    reasons += conditions.compare(manifest.key.conditions, wanted.conditions, same_namespace=same_namespace)
    if not reasons and manifest.key.digest != wanted.digest:
        reasons = [
            Reason("workload key", manifest.key.digest[:12], wanted.digest[:12] or UNKNOWN, "workload-key")
        ]
    return reasons


# field of Now, how it is called, what it must be, slug
_STATE = (
    ("quarantined", "quarantine", False, "quarantined"),
    ("complete", "the checkpoint's files", True, "incomplete"),
)
_STATE_WORDS = {
    ("quarantined", False): "not quarantined",
    ("quarantined", True): "quarantined after a failed restore",
    ("complete", True): "all there",
    ("complete", False): "missing or of another size",
}


def _state(now: Now) -> list[Reason]:
    found = [(fact, name, wanted, getattr(now, fact), slug) for fact, name, wanted, slug in _STATE]
    return [
        Reason(name, _STATE_WORDS[fact, wanted], _STATE_WORDS.get((fact, has), UNKNOWN), slug)
        for fact, name, wanted, has, slug in found
        if has is not wanted
    ]


def _memory(manifest: Manifest, now: Now) -> list[Reason]:
    """/dev/shm is memory as well; the layer is written to disk once more for the new container."""
    sizes = manifest.sizes
    memory = sizes.cpu_memory + sizes.gpu_memory + sizes.shm
    own = (
        ("free memory", memory, now.free_memory, "no-memory"),
        ("free disk", sizes.layer, now.free_disk, "no-disk"),
        ("restores running", None, now.restores_running, "unknown-fact"),
        ("bytes to read", None, now.unread_bytes, "unknown-fact"),
    )
    return [
        Reason(name, "a number" if needs is None else f"{needs} bytes", _bytes(has), slug)
        for name, needs, has, slug in own
        if has is None or (needs is not None and has < needs)
    ]


def _bytes(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value} bytes"


def _prediction(manifest: Manifest, now: Now) -> Prediction | None:
    if now.unread_bytes is None or now.restores_running is None:
        return None
    memory = manifest.sizes.cpu_memory + manifest.sizes.gpu_memory
    cold_s = manifest.measured.cold_start_s
    return predict(memory, now.unread_bytes, cold_s, now.rates, now.restores_running, now.deadline_s)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One checkpoint that was judged."""

    id: str
    created: str  # as in the manifest: text that sorts by time
    verdict: Verdict


def choose(candidates: Iterable[Candidate]) -> tuple[Candidate | None, str]:
    """The checkpoint to restore, or None, and one sentence that says why.

    Among those that match: one of the pod's own namespace (rule 7.1); then one captured with the pod's own limits
    (rule 8.2); then the newest, because it has the most recent state and was captured by the newest tools; of two
    captured in one second, the one whose id sorts first. The order in which they come does not matter.
    """
    ordered = sorted(sorted(candidates, key=lambda one: one.id), key=lambda one: one.created, reverse=True)
    fitting = [one for one in ordered if one.verdict.matches]
    fitting.sort(key=lambda one: (not one.verdict.own, not one.verdict.exact))
    if not ordered:
        return None, "there is no checkpoint for this namespace"
    if not fitting:
        nearest = nearest_miss(ordered)
        first = nearest.verdict.reasons[0]
        return None, f"none of {len(ordered)} checkpoints fits; the nearest, {nearest.id}: {first}"
    if len(fitting) == 1:
        return fitting[0], f"{fitting[0].id} is the only one of {len(ordered)} that fits"
    return fitting[0], f"{fitting[0].id} is the best of {len(fitting)} that fit, of {len(ordered)}"


def nearest_miss(candidates: Iterable[Candidate]) -> Candidate:
    """Of checkpoints that do not fit, the one with the fewest reasons; then the newest; then by id."""
    by_id = sorted(candidates, key=lambda one: one.id)
    newest_first = sorted(by_id, key=lambda one: one.created, reverse=True)
    return min(newest_first, key=lambda one: len(one.verdict.reasons))


def miss_slug(candidates: Iterable[Candidate]) -> str:
    """What an outcome says behind "cold:" when none was chosen: the nearest one's first reason."""
    listed = list(candidates)
    return nearest_miss(listed).verdict.slug if listed else "no-checkpoint"


def worth_if_read(candidates: Iterable[Candidate]) -> str | None:
    """The first checkpoint that nothing but its way from the disk may speak against: read ahead, it can serve the
    next start."""
    for one in candidates:
        prediction = one.verdict.prediction
        if (
            prediction
            and prediction.unread_bytes
            and [r.slug for r in one.verdict.reasons] == ["restore-slower"]
        ):
            return one.id
    return None
