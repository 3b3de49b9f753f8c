"""Chunks gathered into packs, and packs sent side by side: few requests, whatever a chunk's size."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from glowplug.registry import names
from glowplug.registry.client import Repository
from glowplug.registry.oci import Descriptor

Input = TypeVar("Input")
Made = TypeVar("Made")


class Packer:
    """One thread's. Packs are numbered in the order in which they are begun, behind those that are there already."""

    def __init__(
        self, repository: Repository, pool: ThreadPoolExecutor, parallel: int, size: int, kind: str
    ) -> None:
        """`size`: a pack with as many bytes is closed. `kind`: the packs' media type."""
        self._repository = repository
        self._pool = pool
        self._parallel = parallel
        self._size = size
        self._kind = kind
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._numbers: dict[str, int | None] = {}
        self._packs: list[Descriptor | Future[tuple[Descriptor, bool]]] = []
        self._current = -1
        self.sent = 0
        """Bytes of packs that the registry did not have; complete once `finish` has returned."""

    def existing(self, pack: Descriptor) -> int | None:
        """The number of a pack that the registry should have; None where it has it no more. Raises RegistryError."""
        if pack.digest not in self._numbers:
            there = self._repository.has_blob(pack.digest)
            self._numbers[pack.digest] = len(self._packs) if there else None
            if there:
                self._packs.append(pack)
        return self._numbers[pack.digest]

    def put(self, piece: bytes) -> tuple[int, int]:
        """Appends a piece; the number of its pack and its offset there."""
        if self._current < 0:
            self._current = len(self._packs)
            self._packs.append(Descriptor(self._kind, "", 0))  # in its place until it is sent
        place = self._current, self._bytes
        self._pieces.append(piece)
        self._bytes += len(piece)
        if self._bytes >= self._size:
            self._close()
        return place

    def finish(self) -> tuple[Descriptor, ...]:
        """All packs, sent. Raises RegistryError."""
        self._close()
        return tuple(self._described(pack) for pack in self._packs)

    def cancel(self) -> None:
        """What has not begun to be sent is not sent."""
        for pack in self._packs:
            if isinstance(pack, Future):
                pack.cancel()

    def _close(self) -> None:
        if self._current < 0:
            return
        under_way = [pack for pack in self._packs if isinstance(pack, Future) and not pack.done()]
        if len(under_way) >= self._parallel:
            under_way[0].result()  # no more of them in memory
        self._packs[self._current] = self._pool.submit(self._send, self._pieces, self._bytes)
        self._pieces, self._bytes = [], 0
        self._current = -1

    def _send(self, pieces: list[bytes], size: int) -> tuple[Descriptor, bool]:
        digest = names.digest_of(pieces)
        return Descriptor(self._kind, digest, size), self._repository.push_blob(pieces, digest)

    def _described(self, pack: "Descriptor | Future[tuple[Descriptor, bool]]") -> Descriptor:
        if isinstance(pack, Descriptor):
            return pack
        descriptor, uploaded = pack.result()
        self.sent += descriptor.size if uploaded else 0
        return descriptor


def in_order(
    pool: ThreadPoolExecutor, inputs: Iterable[Input], work: Callable[[Input], Made], ahead: int
) -> Iterator[Made]:
    """The results in the order of what went in; at most `ahead` of them are in memory."""
    waiting: deque[Future[Made]] = deque()
    try:
        for one in inputs:
            waiting.append(pool.submit(work, one))
            while len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for left in waiting:
            left.cancel()
