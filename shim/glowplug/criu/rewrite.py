"""Take the large memory of a fresh dump out of CRIU's images and make memory extents of it.

CRIU puts pages back through one thread, fill.py through many. So the pagemap entries of large mappings go, and
CRIU restores those mappings empty, or as their file is. The data is not copied: the pages file that CRIU wrote
becomes the extent's data file, and CRIU gets a small new one with what remains. Where enough zero pages lie
together in anonymous memory they are dropped: no run holds them, and the file gets a hole there.
"""

import ctypes
import os
from dataclasses import dataclass

from glowplug.criu import extents, images, layout, processes
from glowplug.criu.layout import Mapping, Piece
from glowplug.errors import ImageError

PAGE = 4096
_ZERO = bytes(PAGE)
_READ = 1 << 20
# Zero pages in a row, in bytes, that are worth a hole and a run of their own behind it. Dropping each single one
# would make a run of each page in the worst case, and a restore takes longer over a run than over 64 KiB.
_SMALLEST_HOLE = 64 << 10
# A huge page holds 512 pages, of which a sparse mapping may have used one: huge pages may cost this much more.
_HUGE_COST = 1.05
_MADV_HUGE, _MADV_NO_HUGE = 1 << 14, 1 << 15  # bits of vma_entry.madv, numbered like MADV_* (asm/mman.h)
_PUNCH = 0x02 | 0x01  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE

Run = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Extracted:
    """What `extract` did, in bytes."""

    moved: int
    """Memory that is in extents now."""
    zeros: int
    """Memory that was dumped and is nowhere now, being zero."""
    left: int
    """Memory in those images that stays with CRIU."""


@dataclass(frozen=True, slots=True)
class _Object:
    """A pagemap image and the mappings that it may give up: one process's private memory, or a shared object."""

    pagemap: str
    windows: tuple[tuple[int, int, Mapping], ...]
    """Ranges of the pagemap's addresses, and the mapping through which each is written; sorted, disjoint."""


def extract(images_dir: str, memory_dir: str, smallest: int = layout.SMALLEST) -> Extracted:
    """Move what is large from ``images_dir`` to ``memory_dir``, on the same file system.

    Both belong to a checkpoint that is being made; memory_dir is made if there is something for it. After
    an error they are half done and of no use. smallest: bytes of memory worth moving, of one mapping.
    Raises ImageError.
    """
    tree, of = layout.living(images_dir)
    found: list[extents.Extent] = []
    huge: set[tuple[int, int]] = set()
    moved = zeros = left = 0
    for one in _objects(images_dir, tree, of):
        try:
            done = _take(images_dir, memory_dir, one, smallest)
        except OSError as error:
            raise ImageError(f"memory of {one.pagemap} can't be extracted: {error.strerror}") from error
        if done is not None:
            found += done.extents
            huge |= done.huge
            moved, zeros, left = moved + done.taken.moved, zeros + done.taken.zeros, left + done.taken.left
    if found:
        extents.save(memory_dir, found)
        _mark_huge(images_dir, of, huge)
    return Extracted(moved, zeros, left)


def _objects(images_dir: str, tree: list[processes.Process], of: dict[int, list[Mapping]]) -> list[_Object]:
    with_parent = layout.inherited(tree, of)
    found = []
    for process in tree:
        private = [
            m for m in of[process.pid] if m.movable and not m.shared and (m.pid, m.start) not in with_parent
        ]
        found.append(_Object(f"pagemap-{process.pid}.img", tuple((m.start, m.end, m) for m in private)))
    for number, name in images.names(images_dir, "pagemap-shmem"):
        # The first System V segment has the number 0, as has all memory that is not shared.
        through = [m for maps in of.values() for m in maps if number and m.shared == number and m.movable]
        found.append(_Object(name, _windows(through)))
    return [one for one in found if one.windows]


def _windows(through: list[Mapping]) -> tuple[tuple[int, int, Mapping], ...]:
    """Cover as much of a shared object as the mappings reach; each part once, by the first that has it."""
    found: list[tuple[int, int, Mapping]] = []
    covered = 0
    for mapping in sorted(through, key=lambda m: (m.offset, m.start - m.end)):
        start, end = max(mapping.offset, covered), mapping.offset + mapping.end - mapping.start
        if start < end:
            found.append((start, end, mapping))
            covered = end
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Done:
    extents: list[extents.Extent]
    huge: set[tuple[int, int]]
    """(pid, start) of mappings that may have huge pages."""
    taken: Extracted


def _take(images_dir: str, memory_dir: str, one: _Object, smallest: int) -> _Done | None:
    head, *entries = images.load(images_dir, one.pagemap, "pagemap")
    parts = layout.pieces(entries, sorted({edge for start, end, _ in one.windows for edge in (start, end)}))
    number = head.required(1, "pagemap_head.pages_id")
    pages, data = os.path.join(images_dir, f"pages-{number}.img"), f"pages-{number}.extent"
    _require_size(pages, one.pagemap, _length(parts))
    chosen = _choose(parts, one.windows, smallest)
    if not chosen:
        return None
    gone = {piece.address for _, pieces in chosen for piece in pieces}
    stay = [piece for piece in parts if piece.address not in gone]
    os.makedirs(memory_dir, mode=0o700, exist_ok=True)
    os.rename(pages, os.path.join(memory_dir, data))
    runs: dict[int, list[Run]] = {}
    huge: set[tuple[int, int]] = set()
    with open(os.path.join(memory_dir, data), "r+b", buffering=0) as file:
        copy_out(file.fileno(), stay, pages)
        images.store(images_dir, one.pagemap, "pagemap", [head, *(layout.entry_for(piece) for piece in stay)])
        for mapping, pieces in chosen:
            kept = _runs(file.fileno(), pieces, mapping)
            runs.setdefault(mapping.pid, []).extend(kept)
            if not mapping.over_file and _fits_huge_pages(kept, mapping, _length(pieces)):
                huge.add((mapping.pid, mapping.start))
        _make_sparse(file.fileno(), [run for of in runs.values() for run in of])
    private = not any(mapping.shared for mapping, _ in chosen)
    made = [extents.Extent(data, pid, extents.flat(sorted(of)), private) for pid, of in runs.items() if of]
    moved = sum(extent.bytes for extent in made)
    dumped = sum(_length(pieces) for _, pieces in chosen)
    return _Done(made, huge, Extracted(moved, dumped - moved, _length(stay)))


def _require_size(pages: str, pagemap: str, length: int) -> None:
    """CRIU counts in the kernel's pages: where these are larger than ours, we would take a part of the memory for all
    of it."""
    size = os.stat(pages).st_size
    if size != length:
        name = os.path.basename(pages)
        raise ImageError(f"{name} has {size} bytes, but {pagemap} lists {length}: the dump is damaged")


def _choose(
    parts: list[Piece], windows: tuple[tuple[int, int, Mapping], ...], smallest: int
) -> list[tuple[Mapping, list[Piece]]]:
    """The mappings with enough memory, each with the pieces in it. Pieces never cross a window's edge."""
    inside: list[list[Piece]] = [[] for _ in windows]
    at = 0
    for piece in parts:
        while at < len(windows) and windows[at][1] <= piece.address:
            at += 1
        if at < len(windows) and windows[at][0] <= piece.address and piece.offset is not None:
            inside[at].append(piece)
    found = [(mapping, pieces) for (_, _, mapping), pieces in zip(windows, inside, strict=True)]
    many = [one for one in found if _length(one[1]) >= layout.SMALL]
    if sum(_length(pieces) for _, pieces in many) >= layout.MANY_SMALL:
        return many
    return [one for one in found if _length(one[1]) >= smallest]


def _length(pieces: list[Piece]) -> int:
    return sum(piece.length for piece in pieces if piece.offset is not None)


def copy_out(source: int, stay: list[Piece], target: str) -> None:
    """Write the pages that CRIU keeps into a new file, in their order."""
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        for piece in stay:
            if piece.offset is not None:
                for at in range(piece.offset, piece.offset + piece.length, _READ):
                    file.write(_read(source, at, min(_READ, piece.offset + piece.length - at)))


def _runs(source: int, taken: list[Piece], mapping: Mapping) -> list[Run]:
    """The runs of a mapping's pieces. No page over a file is dropped for being zero: the file's would be seen."""
    if mapping.over_file:
        return [(piece.address, piece.length, piece.offset) for piece in taken if piece.offset is not None]
    return _without_zeros(source, taken, mapping.start - mapping.offset if mapping.shared else 0)


def _without_zeros(source: int, taken: list[Piece], shift: int) -> list[Run]:
    """Runs (address, length, offset) without the large stretches of zeros; addresses moved by ``shift``."""
    runs: list[Run] = []
    for piece in taken:
        assert piece.offset is not None
        for at in range(0, piece.length, _READ):
            chunk = _read(source, piece.offset + at, min(_READ, piece.length - at))
            for start, end in _stretches(chunk):
                address, offset = piece.address + shift + at + start, piece.offset + at + start
                last = runs[-1] if runs else (0, 0, 0)
                gap = address - last[0] - last[1]
                if gap < _SMALLEST_HOLE and gap == offset - last[2] - last[1]:  # zero pages, if any
                    runs[-1] = (last[0], last[1] + gap + end - start, last[2])
                else:
                    runs.append((address, end - start, offset))
    return runs


def _stretches(chunk: bytes) -> list[tuple[int, int]]:
    """Where the pages of ``chunk`` that are not zero begin and end."""
    found = []
    start = None
    for at in range(0, len(chunk), PAGE):
        if chunk[at : at + PAGE] == _ZERO:
            if start is not None:
                found.append((start, at))
                start = None
        elif start is None:
            start = at
    if start is not None:
        found.append((start, len(chunk)))
    return found


def _fits_huge_pages(runs: list[Run], mapping: Mapping, present: int) -> bool:
    """Whether huge pages under the runs take hardly more memory than was there before."""
    huge = {
        page
        for address, length, _ in runs
        for page in range(address // extents.HUGE, (address + length - 1) // extents.HUGE + 1)
    }
    total = sum(
        extents.HUGE
        for page in huge
        if page * extents.HUGE >= mapping.start and (page + 1) * extents.HUGE <= mapping.end
    )
    return 0 < total <= present * _HUGE_COST


def _mark_huge(images_dir: str, of: dict[int, list[Mapping]], huge: set[tuple[int, int]]) -> None:
    """Ask for huge pages in the mappings (pid, start), unless the process had requested none."""
    for pid in sorted({pid for pid, _ in huge}):
        entries = images.load(images_dir, f"mm-{pid}.img", "mm")
        vmas = entries[0].messages(layout.MM_VMAS)
        for vma in vmas:
            madv = vma.integer(layout.VMA_MADV) or 0
            if (pid, vma.integer(1)) in huge and not madv & _MADV_NO_HUGE:
                vma.put_integer(layout.VMA_MADV, madv | _MADV_HUGE)
        entries[0].put_messages(layout.MM_VMAS, vmas)
        images.store(images_dir, f"mm-{pid}.img", "mm", entries)


def _make_sparse(fd: int, runs: list[Run]) -> None:
    """Give back the disk space of what no run names. A file system that can't is let be."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    used = sorted((offset, offset + length) for _, length, offset in runs)
    os.ftruncate(fd, used[-1][1] if used else 0)
    before = 0
    for start, end in used:
        if start - before >= _SMALLEST_HOLE and libc.fallocate(fd, _PUNCH, before, start - before):
            return
        before = end


def _read(fd: int, at: int, length: int) -> bytes:
    data = os.pread(fd, length, at)
    if len(data) != length:
        raise ImageError(f"a pages image ends at byte {at + len(data)}, expected {at + length}")
    return data
