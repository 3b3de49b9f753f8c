"""What of each pack is fetched: all of it, or pieces where few of its chunks are needed; and the chunks in that."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from glowplug.errors import CacheError, RegistryMiss
from glowplug.registry import chunks, seal
from glowplug.registry.client import Repository
from glowplug.registry.index import Index
from glowplug.registry.oci import Descriptor
from glowplug.registry.seal import Pieces

_WORTH_ALL = 0.5
"""A pack of which at least so much is needed is fetched completely: by its digest, from a mirror perhaps."""
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
    def is_complete(self) -> bool:
        """Whether it is the entire pack."""
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


Write = Callable[[int, Pieces], object]
"""Takes a chunk by its number, and its content. Raises OSError."""


def fetch(repository: Repository, listed: Index, part: Part, write: Write) -> None:
    """Each chunk of a part is written as it comes, verified. Raises RegistryError, RegistryMiss, CacheError.

    They are opened under keys that a signed index has, which no other bytes do: a pack's own digest is not computed.
    Who has those keys could make others; that shows when all files are compared with the signed manifest's digests.
    """
    sink = _Chunks(listed, part, write)
    if part.is_complete:
        repository.receive(part.pack, chunks.PACK_LIMIT, sink)
    else:
        repository.receive_part(part.pack, sink)


class _Chunks:
    """The chunks of a part in their order in the pack (transport.Sink); what is between them is dropped."""

    def __init__(self, listed: Index, part: Part, write: Write) -> None:
        numbered = [(listed.chunks[number], number) for number in part.chunks]
        self._left = sorted(numbered, key=lambda one: -one[0].offset)
        self._write = write
        self.at, self.end = part.offset, part.offset + part.size

    def needs(self) -> int:
        """The next chunk, or some of what is before it."""
        if not self._left:
            return min(self.end - self.at, _GAP)
        chunk, _ = self._left[-1]
        if chunk.offset < self.at:
            raise RegistryMiss("damaged", "the index has chunks that overlap")
        return chunk.size if chunk.offset == self.at else min(chunk.offset - self.at, _GAP)

    def take(self, piece: bytes) -> None:
        """Raises RegistryMiss for bytes that are not the chunk's; CacheError where it can't be written."""
        if self._left and self._left[-1][0].offset == self.at:
            chunk, number = self._left[-1]
            content = seal.open_chunk(piece, chunk.key, chunk.length, chunk.id)
            try:
                self._write(number, content)
            except OSError as error:  # not one of the connection
                raise CacheError(str(error)) from error
            self._left.pop()
        self.at += len(piece)


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
