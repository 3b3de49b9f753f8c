"""Whether a workload has its checkpoint already, so that it is captured once."""

from glowplug.agent.captures.candidate import Candidate
from glowplug.cache.store import Store
from glowplug.checkpoint.judgement import Judgement
from glowplug.errors import CaptureRefused
from glowplug.explain.judge import JUDGED, Judge

PASSING = frozenset(("no-memory", "no-disk", "restore-slower", "unknown-fact"))
"""Reasons that speak of this moment, not of the checkpoint: another one would meet them too."""
QUARANTINED_LIMIT = 2


def why(store: Store, judge: Judge, candidate: Candidate, judgement: Judgement) -> str | None:
    """What there is, in words; None: nothing that would serve this container.

    Raises CaptureRefused where checkpoints of this workload were quarantined more than once: another one would be
    no better. ContainerdError.
    """
    accepts = judge.accepts(candidate.facts)
    entries = store.index.find(candidate.facts.sandbox_namespace, judgement.key.digest, accepts)[:JUDGED]
    judged = judge.candidates(entries, candidate.record, candidate.facts, judgement.key) if entries else []
    for one in judged:
        if one.verdict.exact and {reason.slug for reason in one.verdict.reasons} <= PASSING:
            return f"checkpoint {one.id} is of the same workload"
    quarantined = [
        one for one in judged if any(reason.slug == "quarantined" for reason in one.verdict.reasons)
    ]
    if len(quarantined) >= QUARANTINED_LIMIT:
        raise CaptureRefused(
            "quarantined",
            f"{len(quarantined)} checkpoints of this workload were quarantined: see `glowplug quarantine list`",
        )
    return None
