"""Where a sparse file has data (lseek(2), SEEK_DATA and SEEK_HOLE)."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Iterator


def is_sparse(status: os.stat_result) -> bool:
    """Whether it takes less of its disk than it has bytes."""
    return status.st_blocks * 512 < status.st_size


def stretches(fd: int, status: os.stat_result) -> Iterator[tuple[int, int]]:
    """The start and end of each stretch that is no hole, of the open file whose status it is; moves its offset."""
    size = status.st_size
    if not is_sparse(status):
        yield 0, size
        return
    end = 0
    while end < size:
        start = next_data(fd, end)
        if start is None:
            return
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, min(end, size)


def next_data(fd: int, offset: int) -> int | None:
    """Where data begins, from `offset` on; None where there is none any more."""
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None
