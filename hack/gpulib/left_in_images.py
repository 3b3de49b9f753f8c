"""What of a checkpoint's memory has stayed in CRIU's images, which one thread restores: by kind of mapping."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from glowplug.criu import forced, images, layout, processes

MEBIBYTE = 1 << 20
# criu/include/image.h
_KINDS = {
    1 << 6: "file, private",
    1 << 7: "file, shared",
    1 << 8: "anonymous, shared",
    1 << 9: "anonymous, private",
}


def sizes(checkpoint: str) -> dict[str, int]:
    """Bytes below each of its directories, and of its largest images."""
    found: Counter[str] = Counter()
    for folder, _, names in os.walk(checkpoint):
        for name in names:
            path = os.path.join(folder, name)
            place = os.path.relpath(path, checkpoint)
            size = os.lstat(path).st_blocks * 512
            found[place.partition("/")[0] + "/"] += size
            if place.startswith("images/") and size >= 16 * MEBIBYTE:
                found[place] = size
    return dict(found)


def by_kind(images_dir: str) -> list[dict[str, Any]]:
    """The largest kinds: process, mapping's kind, access, its size class, with MiB and the number of mappings."""
    files = layout.memory_files(images_dir)
    found: Counter[tuple[str, ...]] = Counter()
    times: Counter[tuple[str, ...]] = Counter()
    for process in processes.tree(images_dir):
        pagemap = f"pagemap-{process.pid}.img"
        if not os.path.exists(f"{images_dir}/{pagemap}"):
            continue
        if os.path.exists(f"{images_dir}/{pagemap}{forced.REST}"):
            pagemap += forced.REST  # as CRIU gets it where the kernel lets us write by force
        mappings = layout.mappings(images_dir, process.pid, files)
        edges = sorted({edge for one in mappings for edge in (one.start, one.end)})
        _, *entries = images.load(images_dir, pagemap, "pagemap")
        at = {one.start: one for one in mappings}
        starts = sorted(at)
        for piece in layout.pieces(entries, edges):
            if piece.offset is None:
                continue
            start = max((one for one in starts if one <= piece.address), default=None)
            mapping = at.get(start) if start is not None else None
            kind = (process.comm, *(_kind(mapping) if mapping else ("?",)))
            found[kind] += piece.length
            times[kind] += 1
    return [
        {"of": " ".join(kind), "mib": round(size / MEBIBYTE, 1), "pieces": times[kind]}
        for kind, size in found.most_common(12)
    ]


def _kind(mapping: layout.Mapping) -> tuple[str, ...]:
    name = next((name for bit, name in _KINDS.items() if mapping.status & bit), f"{mapping.status:#x}")
    access = "".join(letter if mapping.prot & bit else "-" for bit, letter in ((1, "r"), (2, "w"), (4, "x")))
    size = mapping.end - mapping.start
    large = "under 4 MiB" if size < 4 * MEBIBYTE else "under 64 MiB" if size < 64 * MEBIBYTE else "larger"
    return name, access, large, "movable" if mapping.movable else "not movable"
