"""A zstd frame of content that no compression makes less (RFC 8878, 3.1.1): a header and raw blocks. No I/O.

Making it is one copy; zstd would first look for what repeats.
"""

from collections.abc import Iterator

_MAGIC = (0xFD2FB528).to_bytes(4, "little")
_SINGLE_SEGMENT_SIZE_OF_4 = (
    b"\xa0"  # frame header descriptor: content size in 4 bytes, no window, no checksum
)
_BLOCK = 128 << 10  # bytes; the most that a block may have


def raw(content: bytes | memoryview) -> bytes:
    """The frame; content has at most 4 GiB."""
    return b"".join(_parts(memoryview(content)))


def _parts(content: memoryview) -> Iterator[bytes | memoryview]:
    yield _MAGIC + _SINGLE_SEGMENT_SIZE_OF_4 + len(content).to_bytes(4, "little")
    for at in range(0, len(content), _BLOCK):
        block = content[at : at + _BLOCK]
        is_last = at + _BLOCK >= len(content)
        yield (len(block) << 3 | is_last).to_bytes(3, "little")
        yield block
