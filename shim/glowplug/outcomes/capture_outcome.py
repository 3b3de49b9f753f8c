"""Records the outcomes of captures in the spool, whether the agent or a command captured.

From there it reaches the history, the log, the metrics, and the pod's readiness gate (agent/ingest.py).
"""

from collections.abc import Mapping, Sequence

from glowplug.capture.preflight.require import MOMENTARY
from glowplug.capture.request import Request, Result
from glowplug.errors import GlowplugError, UsageError
from glowplug.outcomes import report

CAPTURED = "captured"
REFUSED = "refused"
FAILED = "failed"
NOT_NEEDED = "not-needed"
COMPILE_CACHE = "compile-cache"
KEPT = "kept"
NOT_KEPT = "not-kept"
PASSING = frozenset(("under-way", "slot", "no-space", *MOMENTARY))
"""Slugs of refusals that speak of the moment only: the agent tries again after a while, and says nothing yet."""
RESULTS = (CAPTURED, REFUSED, FAILED, NOT_NEEDED)


def captured(result: Result, by: str, pod_uid: str = "", errors: Sequence[str] = ()) -> bool:
    """A checkpoint was published. `by`: agent or command; `errors`: what went wrong after it. False where it can't be
    noted."""
    said: dict[str, object] = {
        "checkpoint": result.checkpoint,
        "bytes": result.bytes,
        "pause_s": result.pause_s,
        "predicted_pause_s": result.predicted_pause_s,
        "phases": result.phases,
        **({"trial": result.trial} if result.trial else {}),
        **({"notes": result.notes} if result.notes else {}),
        **({"detail": "; ".join(errors)} if errors else {}),
    }
    if result.compile_cache:
        names = {"namespace": result.namespace, "pod": result.pod, "container": result.container}
        compile_cache({"container_id": result.container_id, **names}, result.compile_cache)
    return _append(CAPTURED, by, result.namespace, result.pod, result.container, {"pod_uid": pod_uid, **said})


def compile_cache(names: Mapping[str, object], said: Mapping[str, object]) -> bool:
    """What was kept of a container's compile caches (capture/compile_cache.keep). `names`: whose they are."""
    result = NOT_KEPT if "detail" in said else KEPT
    return report.append({"event": COMPILE_CACHE, **names, "result": result, **said})


def not_captured(
    request: Request, error: GlowplugError, by: str, pod_uid: str = "", errors: Sequence[str] = ()
) -> bool:
    """Refused where nothing was touched, else failed; the container runs on either way."""
    kind = REFUSED if isinstance(error, UsageError) else FAILED
    slug = getattr(error, "slug", "")
    said: dict[str, object] = {"pod_uid": pod_uid, "detail": "; ".join((str(error), *errors))}
    said |= {"slug": slug} if slug else {}
    return _append(kind, by, request.namespace, request.pod, request.container or "", said)


def not_needed(namespace: str, pod: str, container: str, why: str, pod_uid: str = "") -> bool:
    """Nobody will capture this container: a pod that waits for it at its readiness gate need not."""
    said: dict[str, object] = {"pod_uid": pod_uid, "detail": why}
    return _append(NOT_NEEDED, "agent", namespace, pod, container, said)


def _append(kind: str, by: str, namespace: str, pod: str, container: str, said: dict[str, object]) -> bool:
    names = {"namespace": namespace, "pod": pod, "container": container}
    return report.append({"event": "capture", "result": kind, "by": by, **names, **said})
