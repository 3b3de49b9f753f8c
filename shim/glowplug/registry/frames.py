"""A zstd frame of content that no compression makes less (RFC 8878, 3.1.1): a header and raw blocks. No I/O.

Making it is one copy; zstd would first look for what repeats.
"""

from collections.abc import Iterator, Sequence

_MAGIC = (0xFD2FB528).to_bytes(4, "little")
_SINGLE_SEGMENT_SIZE_OF_4 = (
    b"\xa0"  # frame header descriptor: content size in 4 bytes, no window, no checksum
)
_BLOCK = 128 << 10  # bytes; the most that a block may have


def raw(content: bytes | memoryview) -> bytes:
    """The frame; content has at most 4 GiB."""
    return b"".join(_parts(memoryview(content)))


def raw_blocks(frame: memoryview, length: int) -> Sequence[memoryview] | None:
    """The blocks of a frame that `raw` made of so many bytes, uncopied; None for any other frame."""
    if frame[:9] != _header(length):
        return None
    found = []
    at, left = 9, length
    while left:
        size = min(_BLOCK, left)
        if frame[at : at + 3] != _block_header(size, is_last=size == left):
            return None
        found.append(frame[at + 3 : at + 3 + size])
        at, left = at + 3 + size, left - size
    return found if at == len(frame) else None


def _header(length: int) -> bytes:
    return _MAGIC + _SINGLE_SEGMENT_SIZE_OF_4 + length.to_bytes(4, "little")


def _block_header(size: int, *, is_last: bool) -> bytes:
    return (size << 3 | is_last).to_bytes(3, "little")


def _parts(content: memoryview) -> Iterator[bytes | memoryview]:
    yield _header(len(content))
    for at in range(0, len(content), _BLOCK):
        block = content[at : at + _BLOCK]
        yield _block_header(len(block), is_last=at + _BLOCK >= len(content))
        yield block
