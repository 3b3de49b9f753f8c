"""How long a container will stand still for its capture, told beforehand."""

import os
from itertools import islice

from glowplug.cache.store import Store
from glowplug.checkpoint import manifest as manifests
from glowplug.errors import CacheError, ManifestError

DUMP_BYTES_PER_S = 500e6  # until a capture on this node has measured its own
PAUSE_FIXED_S = 0.4  # runc and CRIU without memory, measured for a small server
TELLING_BYTES = 256 << 20
"""A smaller capture says more of what is fixed than of the memory."""
LOOKED_AT = 8


def predicted_s(store: Store, needed: int) -> float:
    """Seconds for so many bytes, by the slowest of this node's latest captures."""
    return round(PAUSE_FIXED_S + needed / min(_measured(store), default=DUMP_BYTES_PER_S), 3)


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
        if manifest.measured.pause_s and manifest.node == os.uname().nodename and moved >= TELLING_BYTES:
            found.append(moved / manifest.measured.pause_s)
    return found
