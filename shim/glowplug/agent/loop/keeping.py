"""The step of a container that is not captured, whose pod wants its compile caches kept: once it is ready, they are.

Not before: what an engine has written by then is what its start compiles. And not at its end, which may be in the
middle of a file.
"""

import time

from glowplug import presets
from glowplug.agent.captures.running import has_ended
from glowplug.agent.loop.asking import is_ready, next_probe_s
from glowplug.agent.loop.parts import Parts
from glowplug.agent.loop.row import FINISHED, Case, Next, Row, State
from glowplug.capture import judged, since_start, weights
from glowplug.checkpoint import eligible
from glowplug.errors import CaptureRefused, ContainerdError, GlowplugError
from glowplug.registry import fleet

UNREAD_S = 1.0
"""Weights that are being read are requested again after so long."""


def rest(parts: Parts, case: Case) -> Next:
    """What is left to be done for a container that is not captured (any more)."""
    asks = case.policy.ready is not None and parts.resolver.compile_caches.is_requested(case.candidate.facts)
    return Next(State.KEEPING, 0.0) if asks else FINISHED


def keep(parts: Parts, row: Row) -> Next:
    """One question whether it is ready; then its caches are kept. Raises ContainerdError."""
    case = row.case
    assert case is not None
    if has_ended(case.running) or time.monotonic() >= case.until:
        return FINISHED
    try:
        if not is_ready(parts, row, case):
            return Next(State.KEEPING, next_probe_s(parts, case))
    except ContainerdError:
        raise
    except (GlowplugError, OSError):
        return FINISHED
    try:
        digest = _key(parts, case)
    except weights.Unread:
        return Next(State.KEEPING, UNREAD_S)
    parts.resolver.compile_caches.keep(parts.containerd, case.candidate, case.running.pid, digest)
    return FINISHED


def _key(parts: Parts, case: Case) -> str:
    """The digest of its workload key, also of one that is never restored; "" where that can't be known.

    Raises weights.Unread, ContainerdError, HostError.
    """
    candidate, config = case.candidate, parts.config
    if not eligible.may_use_compile_cache(candidate.facts, eligible.ineligible(candidate.facts)):
        return ""
    try:
        judgement = since_start.judgement(
            parts.containerd,
            parts.containerd.container(candidate.id),
            judged.spec_of(candidate.runc_root, candidate.id),
            fleet.salt(config.registry, parts.store),
            case.running.pid,
            presets.extras(config.presets, candidate.facts),
        )
    except weights.Unread:
        raise
    except CaptureRefused:
        return ""
    return judgement.key.digest
