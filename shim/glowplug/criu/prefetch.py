"""A checkpoint's images, extents and lists brought into the page cache before a restore asks for them."""

import os
from collections.abc import Callable

from glowplug.errors import ImageError
from glowplug.host import holes

DIRECTORIES = ("", "images", "memory")  # at the top: the manifest, and the list of blocks
BLOCK_BYTES = 8 << 20


def files(checkpoint: str) -> list[str]:
    """The paths of all that is read ahead, in the order of a restore. Raises ImageError."""
    found = []
    for name in DIRECTORIES:
        try:
            found += sorted(
                entry.path
                for entry in os.scandir(f"{checkpoint}/{name}")
                if entry.is_file(follow_symlinks=False)
            )
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _unreadable(checkpoint, error) from error
    return found


def prefetch(checkpoint: str, limit_bytes: int, may_continue: Callable[[], bool]) -> int:
    """Read them once, but for their holes; how many bytes were read.

    Ends at `limit_bytes`, or when `may_continue`, called before each block, says no: a restore has begun, and two
    readers would take the disk from each other. Raises ImageError; a checkpoint that was removed is none.
    """
    buffer = bytearray(BLOCK_BYTES)
    done = 0
    for path in files(checkpoint):
        try:
            with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb", buffering=0) as file:
                for start, end in holes.stretches(file.fileno(), os.fstat(file.fileno())):
                    file.seek(start)
                    while start < end and done < limit_bytes and may_continue():
                        count = file.readinto(memoryview(buffer)[: end - start])
                        if not count:
                            break
                        start, done = start + count, done + count
        except FileNotFoundError:
            break
        except OSError as error:
            raise _unreadable(checkpoint, error) from error
    return done


def _unreadable(checkpoint: str, error: OSError) -> ImageError:
    return ImageError(f"{checkpoint} can't be read ahead: {error}")
