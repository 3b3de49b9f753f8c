"""Verdicts, keys and requirements as plain rows, for the tables and the JSON of `explain` and `inspect`.

Only names and public facts come out of here; what the key keeps as a hash is reported as a count.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict

from glowplug.checkpoint.differences import short
from glowplug.checkpoint.key import Parts
from glowplug.checkpoint.requirements import GPU_RULES, HostRequirements, reported
from glowplug.checkpoint.requirements import RULES as HOST_RULES
from glowplug.checkpoint.verdict import Candidate

HIDDEN = frozenset(("args", "env", "extras", "hooks", "other", "salt", "seccomp", "settings"))


def candidate_rows(candidates: Iterable[Candidate]) -> list[dict[str, object]]:
    """One object per checkpoint, the newest first, with every reason."""
    newest_first = sorted(
        sorted(candidates, key=lambda one: one.id), key=lambda one: one.created, reverse=True
    )
    return [_candidate_row(one) for one in newest_first]


def _candidate_row(one: Candidate) -> dict[str, object]:
    prediction = one.verdict.prediction
    return {
        "checkpoint": one.id,
        "created": one.created,
        "matches": one.verdict.matches,
        "reasons": [asdict(reason) for reason in one.verdict.reasons],
        "predicted_restore_s": None if prediction is None else round(prediction.restore_s, 3),
        "measured_cold_s": None if prediction is None else prediction.cold_s,
    }


def key_rows(parts: Parts) -> list[tuple[str, str]]:
    """(part, what may be shown of it): names of variables, never their values."""
    return [(name.replace("_", " "), _part(name, value)) for name, value in parts.items()]


def _part(name: str, value: object) -> str:
    if name == "mounts" and isinstance(value, Mapping):
        return (
            ", ".join(f"{place} {_field(mount, 'kind')}" for place, mount in sorted(value.items())) or "none"
        )
    if name not in HIDDEN:
        return short(value)
    if isinstance(value, Mapping):
        return ", ".join(sorted(value)) or "none"
    return (
        f"{len(value)} of them" if isinstance(value, list) else "none" if value is None else "kept as a hash"
    )


def _field(value: object, name: str) -> str:
    return str(value.get(name)) if isinstance(value, Mapping) else "unknown"


def requirement_rows(required: HostRequirements) -> list[tuple[str, str]]:
    """(requirement, value); those of GPUs only where the checkpoint has any."""
    rules = HOST_RULES if required.gpu_count == 0 else HOST_RULES + GPU_RULES
    values = [(name, getattr(required, field)) for field, name, _, _ in rules]
    return [(name, "unknown" if value is None else reported(value)) for name, value in values]
