"""Open files that no dump takes along."""

import os
import stat
from collections.abc import Iterator

from glowplug.capture.preflight.tree import Refusal, Tree, named
from glowplug.criu.config import GHOST_LIMIT

_BLOCK = 512  # st_blocks (stat(3type))


def large_removed(tree: Tree) -> Iterator[Refusal]:
    """A removed file that is still open travels in the images, up to a size."""
    seen = set()
    for one in tree.descriptors:
        if not one.target.endswith(" (deleted)") or one.target.startswith("/memfd:"):
            continue
        try:
            status = os.stat(f"/proc/{one.pid}/fd/{one.number}")
        except OSError:
            continue
        size = status.st_blocks * _BLOCK
        is_ghost = stat.S_ISREG(status.st_mode) and not status.st_nlink
        if is_ghost and size > GHOST_LIMIT and (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            yield Refusal(
                "large-removed-file",
                f"{named(one.pid)} holds the removed file {one.target.removesuffix(' (deleted)')} of "
                f"{size >> 20} MiB; at most {GHOST_LIMIT >> 20} MiB of such a file can be taken along: close it first, "
                "or don't remove it",
            )
