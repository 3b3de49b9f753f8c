"""The judgement that a capture goes by: the one of the container's start, where nothing has changed since.

A process keeps what it has read. Were its key made at the capture, a ConfigMap that was changed meanwhile would give
every later pod with the new one a process with the old one.
"""

import os
from collections.abc import Mapping
from dataclasses import replace

from glowplug.capture import identity, judged, weights
from glowplug.checkpoint import bundle, withheld
from glowplug.checkpoint import judgement as judgements
from glowplug.checkpoint.bundle import BundleFacts
from glowplug.checkpoint.judgement import Judgement
from glowplug.checkpoint.oci import Spec
from glowplug.containerd.client import Containerd
from glowplug.containerd.records import ContainerRecord
from glowplug.errors import CaptureRefused
from glowplug.host import process, seccomp

PUBLISHED = "..data"
"""The link that the kubelet exchanges when a ConfigMap, Secret or projected volume changes (its AtomicWriter)."""

SERVICE_ACCOUNT = "/kube-api-access-"
"""In a volume's path: a token that is rotated all the time, and is known by whose it is."""

SHOWN = 4

Extras = Mapping[str, str | None]
_NONE: Mapping[str, str] = {}


def judgement(
    containerd: Containerd,
    record: ContainerRecord,
    spec: Spec,
    salt: bytes,
    init: int,
    extras: Extras = _NONE,
) -> Judgement:
    """The judgement of its start. `spec`: of its bundle; `init`: its first process, a host pid; `extras`: as
    identity.of has them.

    Raises CaptureRefused where nobody can say how it was then; ContainerdError.
    """
    known = judged.of(record.id)
    if known is not None and known.is_of(judgements.spec_hash(salt, spec)):
        if list(known.key.unknown) == [weights.UNKNOWN]:
            return _with_weights(containerd, record, known, salt, init, extras)
        return known
    return _late(containerd, record, spec, salt, init, extras)


def require(
    containerd: Containerd,
    record: ContainerRecord,
    spec: Spec,
    salt: bytes,
    init: int,
    extras: Extras = _NONE,
) -> Judgement:
    """The same, for a capture at this moment. Raises CaptureRefused where something is not as it was."""
    facts, recorded = bundle.read(spec), bundle.read(record.spec)
    if weights.are_requested(recorded):
        try:
            weights.read(recorded)  # this is a capture's own process, and nothing is paused yet
        except OSError as error:
            raise CaptureRefused("weights", f"its weights can't be read: {error}") from error
    resized = judgements.resized(facts, recorded)
    if resized:
        raise CaptureRefused(
            "changed",
            f"its {', '.join(resized)} changed since its start: a pod that starts with the new limits is captured",
        )
    known = judgement(containerd, record, spec, salt, init, extras)
    now = identity.of(containerd, record, facts, salt, runs=True, extras=extras).key
    # Our own edit of the spec is in the bundle, not in what was judged; a spec's hash says that the rest is equal.
    different = judgements.changed(known.key, now, ignored=("seccomp",))
    if different and not known.objections():
        raise CaptureRefused(
            "changed",
            f"not as it was at its start: {_listed(different)}; the process has read it as it was then, a pod that "
            "is started now is captured",
        )
    return known


def _with_weights(
    containerd: Containerd,
    record: ContainerRecord,
    judgement: Judgement,
    salt: bytes,
    init: int,
    extras: Extras,
) -> Judgement:
    """Of one whose weights were not read yet at its start: they are now, where they are as they were then."""
    facts = bundle.read(record.spec)
    if weights.extras(facts)[weights.NAME] is None:
        why = weights.failure(facts)
        raise CaptureRefused("weights", f"its weights can't be read: {why}") if why else weights.Unread
    if _weights_changed(facts, init):
        raise CaptureRefused(
            "changed", "its weights changed since its start: a pod that is started now is captured"
        )
    now = identity.of(containerd, record, facts, salt, runs=True, extras=extras).key
    different = judgements.changed(judgement.key, now, ignored=("seccomp", "extras"))
    if different or now.unknown:
        raise CaptureRefused("changed", f"not as it was at its start: {_listed([*different, *now.unknown])}")
    made = replace(judgement, key=now)
    judged.keep(made)
    return made


def _weights_changed(facts: BundleFacts, init: int) -> bool:
    try:
        return weights.changed_since(facts, process.started_at(init))
    except OSError as error:
        raise CaptureRefused("weights", f"its weights can't be looked at: {error}") from error


def _late(
    containerd: Containerd,
    record: ContainerRecord,
    spec: Spec,
    salt: bytes,
    init: int,
    extras: Extras,
) -> Judgement:
    """Of one that was made while no agent ran: as it is now, where that is as it was."""
    recorded = bundle.read(record.spec)
    ours = (record.spec, withheld.without(record.spec, seccomp.machine()))
    if spec not in ours:
        raise CaptureRefused(
            "not-judged",
            "no agent ran when it was made, and its spec was edited behind containerd since: its key can't be known; "
            "start the pod again",
        )
    newer = _newer_volumes(recorded, process.started_at(init))
    if newer:
        raise CaptureRefused(
            "changed",
            f"no agent ran when it was made, and {_listed(newer)} changed since: start the pod again",
        )
    return judged.judge(containerd, record, record.spec, recorded, salt, extras, runs=True)


def _newer_volumes(facts: BundleFacts, started: float) -> list[str]:
    """Mounts whose content the kubelet exchanged after that moment (Unix time)."""
    found = []
    for mount in facts.mounts:
        if SERVICE_ACCOUNT in mount.source:
            continue
        try:
            published = os.lstat(f"{mount.source}/{PUBLISHED}").st_mtime
        except OSError:
            continue
        if published > started:
            found.append(mount.destination)
    return found


def _listed(parts: list[str]) -> str:
    more = f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
    return ", ".join(parts[:SHOWN]) + more
