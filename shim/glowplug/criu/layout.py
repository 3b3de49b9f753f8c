"""Which of the dumped memory is worth taking out of CRIU's images, and may be.

Decided from the images alone. What is not surely safe stays with CRIU: stacks, code, read-only memory, huge-page
file systems, and every mapping that a child has from its parent as it was, since CRIU compares the two page by
page and shares what is equal, where two writes would make two copies.
Field numbers: images/mm.proto, vma.proto, pagemap.proto.
"""

import itertools
import os
from dataclasses import dataclass

from glowplug.criu import images, processes
from glowplug.criu.images import Message
from glowplug.errors import ImageError

PAGE = 4096
SMALLEST = 4 << 20
"""Bytes in memory from which a mapping is taken out, whatever else there is."""
SMALL, MANY_SMALL = 64 << 10, 16 << 20
"""The same for smaller ones, where all those of one process have so many bytes together: CRIU's one thread writes
1.8 GB/s. An interpreter's heap is in hundreds of mappings of 1 MiB and less (vLLM: two processes, 104 MiB each)."""

# criu/include/image.h; the guard pages of a mapping are listed as mappings of their own
_REGULAR, _HEAP, _FILE_PRIVATE, _FILE_SHARED, _ANON_SHARED, _ANON_PRIVATE, _MEMFD = (
    1,
    1 << 5,
    1 << 6,
    1 << 7,
    1 << 8,
    1 << 9,
    1 << 14,
)
_PRIVATE = _REGULAR | _ANON_PRIVATE
# CRIU dumps shared anonymous memory as what it is inside, a file in memory without a name, like memfd_create(2).
_SHARED = (_REGULAR | _ANON_SHARED, _REGULAR | _FILE_SHARED | _MEMFD)
_MAP_GROWSDOWN, _MAP_HUGETLB = 0x100, 0x40000
_PROT_READ, _PROT_WRITE = 1, 2

MM_VMAS = 14
VMA_MADV = 9
_ENTRY_ADDRESS, _ENTRY_PAGES_OLD, _ENTRY_IN_PARENT, _ENTRY_FLAGS, _ENTRY_PAGES = 1, 2, 3, 4, 5
_FLAG_PRESENT = 1 << 2


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping (VMA) of a process. Addresses and the offset in bytes."""

    pid: int
    start: int
    end: int
    offset: int
    shared: int
    """Number of the object in shared memory (its pagemap-shmem image), 0 for any other memory."""
    prot: int
    flags: int
    status: int

    @property
    def over_file(self) -> bool:
        """A private mapping of a file: its images hold the pages that were changed, and any other page is the file's.

        Exactly so: a file in memory (memfd), a device, a vDSO have further bits.
        """
        return self.status == _REGULAR | _FILE_PRIVATE

    @property
    def read_only(self) -> bool:
        """Over a file, and readable alone: a program's constants once they are relocated, never code."""
        return self.over_file and self.prot == _PROT_READ and not self.flags & (_MAP_GROWSDOWN | _MAP_HUGETLB)

    @property
    def movable(self) -> bool:
        """Plain memory that its owner may write: anonymous, or over a file (a program's variables, never code)."""
        if self.flags & (_MAP_GROWSDOWN | _MAP_HUGETLB) or not self.prot & _PROT_WRITE:
            return False
        if self.over_file:
            return self.prot == _PROT_READ | _PROT_WRITE
        return self.status & ~_HEAP == _PRIVATE or (bool(self.shared) and self.status in _SHARED)


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a pagemap entry: pages in a row. ``offset``: where they are in the pages file, None if nowhere."""

    entry: Message
    address: int
    length: int
    offset: int | None


def memory_files(images_dir: str) -> dict[int, int]:
    """CRIU's number of an open file in memory (memfd) → number of the object in its pagemap-shmem image."""
    if not os.path.exists(os.path.join(images_dir, "memfd.img")):
        return {}
    objects = {
        inode.required(7, "memfd_inode.inode_id"): inode.required(5, "memfd_inode.shmid")
        for inode in images.load(images_dir, "memfd.img", "memfd")
    }
    found = {}
    for entry in images.load(images_dir, "files.img", "files"):
        memfd = entry.message(20)
        if memfd is not None and (number := memfd.required(5, "memfd_file.inode_id")) in objects:
            found[memfd.required(1, "memfd_file.id")] = objects[number]
    return found


def mappings(images_dir: str, pid: int, files: dict[int, int]) -> list[Mapping]:
    """All mappings of a process, by address (guard pages follow at the end, as CRIU lists them).

    files: what `memory_files` says.
    """
    found = []
    for vma in _mm(images_dir, pid).messages(MM_VMAS):
        start, end = vma.required(1, "vma.start"), vma.required(2, "vma.end")
        if start % PAGE or end % PAGE or start >= end:
            raise ImageError(f"mm-{pid}.img has a mapping from {start:#x} to {end:#x}")
        status = vma.required(7, "vma.status")
        number = vma.required(4, "vma.shmid")
        shared = files.get(number, 0) if status & _MEMFD else number if status & _ANON_SHARED else 0
        offset, prot, flags = (vma.required(field, "vma") for field in (3, 5, 6))
        found.append(Mapping(pid, start, end, offset, shared, prot, flags, status))
    return found


def living(images_dir: str) -> tuple[list[processes.Process], dict[int, list[Mapping]]]:
    """The processes that were dumped alive, and the mappings of each, by its pid in the container."""
    tree = [process for process in processes.tree(images_dir) if process.state != processes.DEAD]
    files = memory_files(images_dir)
    return tree, {process.pid: mappings(images_dir, process.pid, files) for process in tree}


def inherited(tree: list[processes.Process], of: dict[int, list[Mapping]]) -> set[tuple[int, int]]:
    """(pid, start) of private mappings that a process and its parent both have: CRIU restores them together.

    The rule is CRIU's own (check_cow_vmas() in criu/mem.c), for the pair of a parent and its child.
    """
    found = set()
    for process in tree:
        theirs = {(m.start, m.end): m for m in of.get(process.parent, []) if not m.shared}
        for mine in of.get(process.pid, []):
            parents = theirs.get((mine.start, mine.end))
            if parents is not None and not mine.shared:
                found |= {(mine.pid, mine.start), (parents.pid, parents.start)}
    return found


def pieces(entries: list[Message], bounds: list[int]) -> list[Piece]:
    """A pagemap's entries, cut at the addresses ``bounds`` (sorted), with their places in the pages file."""
    found = []
    offset = at = end = 0
    for entry in entries:
        address = entry.required(_ENTRY_ADDRESS, "pagemap.vaddr")
        if address < end or address % PAGE:
            raise ImageError(f"a pagemap's entries are not in order at {address:#x}")
        pages = entry.integer(_ENTRY_PAGES) or entry.required(_ENTRY_PAGES_OLD, "pagemap.nr_pages")
        end = address + pages * PAGE
        stored = _stored(entry)
        while at < len(bounds) and bounds[at] <= address:
            at += 1
        cuts = [address, *_between(bounds, at, end), end]
        for start, stop in itertools.pairwise(cuts):
            found.append(Piece(entry, start, stop - start, offset if stored else None))
            offset += stop - start if stored else 0
    return found


def entry_for(piece: Piece) -> Message:
    """A pagemap entry for the piece alone, alike in everything else."""
    entry = Message(piece.entry.encode())
    entry.put_integer(_ENTRY_ADDRESS, piece.address)
    counted_in = _ENTRY_PAGES_OLD if entry.integer(_ENTRY_PAGES) is None else _ENTRY_PAGES
    entry.put_integer(counted_in, piece.length // PAGE)
    return entry


def _mm(images_dir: str, pid: int) -> Message:
    entries = images.load(images_dir, f"mm-{pid}.img", "mm")
    if len(entries) != 1:
        raise ImageError(f"image mm-{pid}.img has {len(entries)} entries instead of one")
    return entries[0]


def _stored(entry: Message) -> bool:
    flags = entry.integer(_ENTRY_FLAGS)
    return bool(flags & _FLAG_PRESENT) if flags is not None else not entry.integer(_ENTRY_IN_PARENT)


def _between(bounds: list[int], at: int, end: int) -> list[int]:
    inside = []
    while at < len(bounds) and bounds[at] < end:
        inside.append(bounds[at])
        at += 1
    return inside
