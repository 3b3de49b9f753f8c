"""How long a container will be paused for its capture, predicted, and whether that is worth it."""

import os
from itertools import islice

from glowplug.cache.store import Store
from glowplug.capture.request import Request
from glowplug.checkpoint import manifest as manifests
from glowplug.checkpoint import worth
from glowplug.errors import CacheError, CaptureRefused, ManifestError

DUMP_BYTES_PER_S = 500e6  # until a capture on this node has measured its own
PAUSE_FIXED_S = 0.4  # runc and CRIU without memory, measured for a small server
SIGNIFICANT_BYTES = 256 << 20
"""A smaller capture says more of what is fixed than of the memory."""
LOOKED_AT = 8


def predicted_s(store: Store, needed: int) -> float:
    """Seconds for so many bytes, by the slowest of this node's latest captures."""
    return round(PAUSE_FIXED_S + needed / min(_measured(store), default=DUMP_BYTES_PER_S), 3)


def require_worth(request: Request, needed: int, pause_s: float) -> None:
    """Raises CaptureRefused for a pause that the pod does not allow, or for a restore that would not be faster than
    the cold start that was seen."""
    if request.max_pause_s is not None and pause_s > request.max_pause_s:
        raise CaptureRefused(
            "pause-too-long",
            f"the container would be paused for about {pause_s:.2f} s ({needed / 1e6:.0f} MB), "
            f"and its pod allows {request.max_pause_s:g} s",
        )
    rates = worth.NodeRates(cores=len(os.sched_getaffinity(0)))
    restore = worth.predict(needed, 0, request.cold_start_s, rates, 0)
    if request.cold_start_s is not None and not restore.is_worth_it:
        raise CaptureRefused(
            "restore-slower",
            f"a restore would take about {restore.restore_s:.1f} s, a cold start took {request.cold_start_s:.1f} s",
        )


def _measured(store: Store) -> list[float]:
    """Bytes per second of the latest captures that were made here."""
    newest = sorted(store.index.all(), key=lambda entry: entry.created, reverse=True)
    found = []
    for entry in islice(newest, LOOKED_AT):
        try:
            manifest = manifests.loads(store.manifest(entry.id))
        except (CacheError, ManifestError):
            continue  # removed just now, or of another version
        moved = manifest.sizes.cpu_memory + manifest.sizes.gpu_memory
        if manifest.measured.pause_s and manifest.node == os.uname().nodename and moved >= SIGNIFICANT_BYTES:
            found.append(moved / manifest.measured.pause_s)
    return found
