"""Find the changed pages of read-only mappings of files in a dump, and make images without them (see forced.py).

These are a library's constants that its loader has relocated: 15 MB of a process that imported PyTorch.
"""

from bisect import bisect_right

from glowplug.criu import extents, forced, images, layout, rewrite
from glowplug.criu.layout import Mapping
from glowplug.errors import ImageError

LEAST = 4 << 20
"""Bytes of one process that are worth it: CRIU reads them in 3 ms."""


def extract(images_dir: str, least: int = LEAST) -> int:
    """Add to images_dir, of a checkpoint that is being made, what its restore needs to write these pages by force.

    The images stay complete. Returns how many bytes these are. Raises ImageError.
    """
    tree, of = layout.living(images_dir)
    with_parent = layout.inherited(tree, of)
    found = []
    for pid, mappings in of.items():
        chosen = [one for one in mappings if one.read_only and (pid, one.start) not in with_parent]
        try:
            extent = _of_process(images_dir, pid, chosen, least)
        except OSError as error:
            raise ImageError(f"read-only memory of process {pid}: {error.strerror}") from error
        if extent is not None:
            found.append(extent)
    if found:
        extents.save(images_dir, found)
    return sum(extent.bytes for extent in found)


def _of_process(images_dir: str, pid: int, chosen: list[Mapping], least: int) -> extents.Extent | None:
    name = f"pagemap-{pid}.img"
    head, *entries = images.load(images_dir, name, "pagemap")
    parts = layout.pieces(entries, sorted({edge for one in chosen for edge in (one.start, one.end)}))
    starts = [one.start for one in chosen]
    runs, stay = [], []
    for piece in parts:
        at = bisect_right(starts, piece.address) - 1
        if piece.offset is not None and at >= 0 and piece.address < chosen[at].end:
            runs.append((piece.address, piece.length, piece.offset))
        else:
            stay.append(piece)
    if sum(length for _, length, _ in runs) < max(least, 1):
        return None
    own = head.required(1, "pagemap_head.pages_id")
    pages = f"pages-{own}.img"
    number = 1 + max([own, *(number for number, _ in images.names(images_dir, "pages"))])
    with open(f"{images_dir}/{pages}", "rb", buffering=0) as file:
        rewrite.copy_out(file.fileno(), stay, f"{images_dir}/pages-{number}.img")
    head.put_integer(1, number)
    images.store(
        images_dir, f"{name}{forced.REST}", "pagemap", [head, *(layout.entry_for(piece) for piece in stay)]
    )
    return extents.Extent(pages, pid, extents.flat(runs), private=True)
