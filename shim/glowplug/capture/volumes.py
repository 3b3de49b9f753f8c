"""Volumes that travel with a container: its image's VOLUMEs and its emptyDirs, each a directory of the host.

In a checkpoint they are in volumes/: `index.json` says which is mounted where, and volumes/N/tree holds the
files of the Nth. `links`: see capture/links.py.
"""

import json
import os
from collections.abc import Iterable, Mapping

from glowplug.checkpoint import mounts
from glowplug.checkpoint.bundle import BundleFacts
from glowplug.checkpoint.judgement import Judgement
from glowplug.checkpoint.mounts import Classified
from glowplug.errors import UsageError
from glowplug.layer import carried, tree

LIMIT_BYTES = 4 << 30
REPLACED = "image-volume"
"""CRI has filled it from the image before the container starts: what travels takes the place of that."""


def carried_by(facts: BundleFacts, judgement: Judgement) -> list[Classified]:
    """The mounts whose files a capture takes along, in the spec's order; /dev/shm and tmpfs go other ways."""
    listed = judgement.files.mounts(facts)
    return [
        mount
        for mount in listed
        if mount.kind == mounts.CARRIED and mount.how in (REPLACED, mounts.EMPTY_DIR)
    ]


def rewritten(facts: BundleFacts) -> list[str]:
    """Where volumes are mounted whose files the kubelet writes again in every pod: ConfigMaps, tokens."""
    written = (mounts.CONTENT, mounts.SERVICE_ACCOUNT)
    return [mount.destination for mount in mounts.classify(facts) if mount.how in written]


def staying(facts: BundleFacts, judgement: Judgement) -> list[str]:
    """Where volumes are mounted that do not travel, and whose files are not compared by their content."""
    compared = (mounts.CONTENT, mounts.SERVICE_ACCOUNT, "kernel", "image")
    listed = judgement.files.mounts(facts)
    return [
        mount.destination for mount in listed if mount.kind == mounts.IDENTITY and mount.how not in compared
    ]


def bytes_of(carried_mounts: Iterable[Classified]) -> int:
    """What they take on disk. Raises UsageError for one that is too large to be carried."""
    total = 0
    for mount in carried_mounts:
        size = tree.size_of(mount.source)
        if size > LIMIT_BYTES:
            raise UsageError(
                f"this container can't be captured: the volume {mount.destination} holds {size} bytes, "
                f"more than {LIMIT_BYTES}: mount a persistent volume there"
            )
        total += size
    return total


def capture(
    carried_mounts: Iterable[Classified], into: str, links: Mapping[str, list[tuple[str, str]]]
) -> None:
    """Copy them into `into`/volumes; the container is frozen. `links`: by mount point. Raises LayerError."""
    index = []
    for number, mount in enumerate(carried_mounts):
        os.makedirs(f"{into}/volumes/{number}", 0o700)
        summary = carried.capture(mount.source, f"{into}/volumes/{number}/tree", LIMIT_BYTES)
        index.append(
            {
                "destination": mount.destination,
                "replace": mount.how == REPLACED,
                "fingerprint": summary.fingerprint,
                "links": links.get(mount.destination, []),
            }
        )
    if index:
        with open(f"{into}/volumes/index.json", "w") as file:
            json.dump(index, file)
