"""Images of processes as CRIU writes them, and the memory that they stand for."""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from glowplug.criu import extents, images
from glowplug.criu.extents import PAGE
from glowplug.criu.images import Message

PRESENT = 1 << 2
PRIVATE, HEAP, MEMFD, SHARED, OVER_FILE = 0x201, 0x221, 0x4081, 0x101, 0x41
GROWSDOWN, HUGETLB = 0x100, 0x40000
READ, WRITE, EXECUTE = 1, 2, 4
BASE = 0x7F0000000000


@dataclass
class Vma:
    start: int
    pages: int
    status: int = PRIVATE
    prot: int = READ | WRITE
    flags: int = 0x22
    offset: int = 0
    shared: int = 0
    madv: int = 0
    here: list[tuple[int, int]] = field(default_factory=list)
    """Runs of pages that are in the images: first, count."""


def message(**fields: int | bytes | Message | list[Message]) -> Message:
    made = Message()
    for name, value in fields.items():
        number = int(name[1:])
        if isinstance(value, int):
            made.put_integer(number, value)
        elif isinstance(value, bytes):
            made.put_octets(number, value)
        elif isinstance(value, Message):
            made.put_message(number, value)
        else:
            made.put_messages(number, value)
    return made


class Dump:
    """Images of processes as CRIU writes them, and the memory that they stand for."""

    def __init__(self, folder: str) -> None:
        self.images, self.memory = f"{folder}/images", f"{folder}/memory"
        os.mkdir(self.images)
        self.pages: dict[tuple[str, int], bytes] = {}
        """(pagemap, address) → the page."""
        self._pages_id = 0
        self._tree: list[Message] = []
        self._random = random.Random(1)

    def process(self, pid: int, parent: int, vmas: list[Vma]) -> None:
        self._tree.append(message(f1=pid, f2=parent, f3=pid, f4=pid, f5=pid))
        self._store("pstree.img", "pstree", self._tree)
        core = message(f1=1, f3=message(f1=1, f2=0, f3=0, f4=0, f5=0, f6=b"test"), f5=message(f1=0, f2=0))
        self._store(f"core-{pid}.img", "core", [core])
        self._store(f"ids-{pid}.img", "ids", [message(f1=pid, f2=pid, f3=pid, f4=pid)])
        entries = [
            message(
                f1=v.start,
                f2=v.start + v.pages * PAGE,
                f3=v.offset,
                f4=v.shared,
                f5=v.prot,
                f6=v.flags,
                f7=v.status,
                f8=(1 << 64) - 1,
                **({"f9": v.madv} if v.madv else {}),
                f77=b"newer",
            )
            for v in vmas
        ]
        self._store(f"mm-{pid}.img", "mm", [message(f1=1, f14=entries, f99=b"newer")])
        runs = [(v.start + first * PAGE, count) for v in vmas if not v.shared for first, count in v.here]
        self.pagemap(f"pagemap-{pid}.img", runs)

    def pagemap(self, name: str, runs: list[tuple[int, int]], zeros: float = 0.3) -> None:
        """runs: (address, pages). Some of the pages are zero."""
        self._pages_id += 1
        entries = [message(f1=self._pages_id)]
        with open(f"{self.images}/pages-{self._pages_id}.img", "wb") as file:
            for address, count in runs:
                entries.append(message(f1=address, f2=0, f4=PRESENT, f5=count, f99=b"newer"))
                for page in range(count):
                    zero = self._random.random() < zeros
                    data = bytes(PAGE) if zero else self._random.randbytes(PAGE)
                    self.pages[name, address + page * PAGE] = data
                    file.write(data)
        self._store(name, "pagemap", entries)

    def memory_file(self, number: int, shmid: int) -> None:
        """An open file in memory, as shared anonymous memory is dumped."""
        self._store("memfd.img", "memfd", [message(f1=b"/dev/zero", f4=0, f5=shmid, f6=0, f7=31)])
        file = message(f1=18, f2=number, f20=message(f1=number, f2=2, f3=0, f4=b"", f5=31))
        self._store("files.img", "files", [file])

    def left(self, name: str) -> dict[tuple[str, int], bytes]:
        """What CRIU would put back from a pagemap."""
        head, *entries = images.load(self.images, name, "pagemap")
        found = {}
        with open(f"{self.images}/pages-{head.integer(1)}.img", "rb") as file:
            for entry in entries:
                assert entry.octets(99) == b"newer"
                for page in range(entry.required(5, "pages")):
                    found[name, entry.required(1, "address") + page * PAGE] = file.read(PAGE)
            assert file.read() == b""
        return found

    def moved(self) -> dict[tuple[int, int], bytes]:
        """What the extents put back: (pid, address) → page."""
        found: dict[tuple[int, int], bytes] = {}
        if not os.path.exists(f"{self.memory}/{extents.INDEX}"):
            return found
        for extent in extents.load(self.memory):
            with open(f"{self.memory}/{extent.data}", "rb") as file:
                for at in range(0, len(extent.runs), 3):
                    address, length, offset = extent.runs[at : at + 3]
                    file.seek(offset)
                    for page in range(0, length, PAGE):
                        assert (extent.pid, address + page) not in found
                        found[extent.pid, address + page] = file.read(PAGE)
        return found

    def madv(self, pid: int) -> list[int]:
        vmas = images.load(self.images, f"mm-{pid}.img", "mm")[0].messages(14)
        assert all(vma.octets(77) == b"newer" for vma in vmas)
        return [vma.integer(9) or 0 for vma in vmas]

    def _store(self, name: str, kind: str, entries: list[Message]) -> None:
        images.store(self.images, name, kind, entries)


def assert_complete(dump: Dump, name: str, pid: int, shift: int = 0, files: Sequence[Vma] = ()) -> None:
    """Each page of a pagemap is in the images or in the extents, not in both; one that was zero may be in none.

    files: mappings over files, where a page that is in none would be the file's.
    """
    wanted = {key: data for key, data in dump.pages.items() if key[0] == name}
    left, moved = dump.left(name), dump.moved()
    of_files = {page for vma in files for page in range(vma.start, vma.start + vma.pages * PAGE, PAGE)}
    for key, data in wanted.items():
        there = moved.get((pid, key[1] + shift))
        droppable = data == bytes(PAGE) and key[1] not in of_files
        assert (key in left) + (there is not None) in ((0, 1) if droppable else (1,))
        assert left.get(key, data) == data
        assert there in (None, data)
    assert set(left) <= set(wanted)
    assert {(pid, key[1] + shift) for key in wanted} >= {key for key in moved if key[0] == pid}
