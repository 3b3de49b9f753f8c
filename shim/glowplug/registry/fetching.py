"""What of each pack is fetched: all of it, or pieces where few of its chunks are needed; and the chunks in that."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from glowplug.registry import chunks, seal
from glowplug.registry.client import Repository
from glowplug.registry.index import Index
from glowplug.registry.oci import Descriptor
from glowplug.registry.seal import Pieces

_WORTH_ALL = 0.5
"""A pack of which at least so much is needed is fetched whole: by its digest, from a mirror perhaps."""
_GAP = 256 << 10
"""Bytes between two chunks that are fetched for nothing: less than another request costs."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a pack, or all of it; numbers of the chunks that are taken from it."""

    pack: Descriptor
    offset: int
    size: int
    chunks: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        return self.size == self.pack.size


def parts(listed: Index, packs: Sequence[Descriptor], there: Collection[int]) -> list[Part]:
    """What has to be fetched for the chunks that are not there."""
    of: dict[int, list[int]] = defaultdict(list)
    for number, chunk in enumerate(listed.chunks):
        if number not in there:
            of[chunk.pack].append(number)
    found: list[Part] = []
    for pack, numbers in sorted(of.items()):
        needed = sum(listed.chunks[number].size for number in numbers)
        if needed >= packs[pack].size * _WORTH_ALL:
            found.append(Part(packs[pack], 0, packs[pack].size, tuple(numbers)))
        else:
            found.extend(
                _pieces(listed, packs[pack], sorted(numbers, key=lambda one: listed.chunks[one].offset))
            )
    return found


Opened = list[tuple[int, Pieces]]
"""Chunks by their numbers, and their contents."""


def fetch(repository: Repository, listed: Index, part: Part) -> Opened:
    """The chunks of a part, each verified. Raises RegistryError, RegistryMiss.

    They are opened under keys that a signed index has, which no other bytes do: a pack's own digest is not computed.
    Who has those keys could make others; that shows when all files are compared with the signed manifest's digests.
    """

    def opened(content: bytearray) -> Opened:
        view = memoryview(content)
        found = []
        for number in part.chunks:
            chunk = listed.chunks[number]
            begin = chunk.offset - part.offset
            blob = view[begin : begin + chunk.size]
            found.append((number, seal.open_chunk(blob, chunk.key, chunk.length, chunk.id)))
        return found

    if part.is_whole:
        return repository.opened(part.pack, chunks.PACK_LIMIT, opened)
    return opened(repository.part(part.pack, part.offset, part.size))


def _pieces(listed: Index, pack: Descriptor, numbers: Sequence[int]) -> Iterator[Part]:
    begin = end = -1
    taken: list[int] = []
    for number in numbers:
        chunk = listed.chunks[number]
        if taken and chunk.offset - end > _GAP:
            yield Part(pack, begin, end - begin, tuple(taken))
            taken = []
        begin = begin if taken else chunk.offset
        end = max(end, chunk.offset + chunk.size) if taken else chunk.offset + chunk.size
        taken.append(number)
    if taken:
        yield Part(pack, begin, end - begin, tuple(taken))
