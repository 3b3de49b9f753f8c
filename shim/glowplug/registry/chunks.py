"""Cutting a file into chunks where its content says so, so that what moved inside a file is the same chunk again.

Memory moves by full pages: a heap that grew, a page that was never touched before. So a cut may only be at a
page's begin, and whether there is one depends on that page's first bytes alone. A chunk has SMALLEST to LARGEST
bytes, times the file's scale. Chunks travel in packs of some megabytes, so that there are few requests.
"""

import zlib
from collections.abc import Iterator

PAGE = 4096
SMALLEST = 64 << 10
LARGEST = 256 << 10
PACK = 16 << 20
"""Bytes of a pack, times the scale of all that is pushed, LARGEST_PACK at most: it is closed when it has as many."""
LARGEST_PACK = 128 << 20
LIMIT = 4 << 20
"""Bytes of the largest chunk that any file may have."""
PACK_LIMIT = 256 << 20

_LOOKED_AT = 256  # bytes of a page; enough to distinguish pages, and quick
_EVERY = 16  # pages, on average, between two places where a cut may be
_SCALES = ((4 << 30, 1), (64 << 30, 4))
_LARGEST_SCALE = 16


def scale(size: int) -> int:
    """By how much the chunks of a file of that many bytes are larger, and packs: 1, 4 or 16."""
    return next((factor for limit, factor in _SCALES if size < limit), _LARGEST_SCALE)


def cuts(window: memoryview, factor: int, *, is_last: bool) -> Iterator[int]:
    """Where the chunks of window end, window beginning with a chunk.

    The rest behind the last cut is too short to be decided upon, unless is_last: then the last cut is its end.
    """
    smallest, largest = SMALLEST * factor, LARGEST * factor
    begin, size = 0, len(window)
    while size - begin >= largest or (is_last and begin < size):
        end = min(begin + largest, size)
        begin = _cut(window, begin + smallest, end, factor)
        yield begin


def _cut(window: memoryview, at: int, end: int, factor: int) -> int:
    """The first place from at on where a cut may be, at most end."""
    every = _EVERY * factor
    for place in range(at, end, PAGE):
        if not zlib.crc32(window[place : place + _LOOKED_AT]) % every:
            return place
    return end
