"""What the process's heap does with large blocks: keeps them, for the next chunk is as large.

As it comes, glibc gives a freed block of this size back to the kernel, and the next one is fresh pages that the kernel
has to zero and map: on chunks of 64 to 256 KiB that costs more than to encrypt or compress them.
"""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST = 32 << 20  # bytes; glibc takes no more (HEAP_MAX_SIZE / 2)


def keep_large_blocks() -> None:
    """For a process that pushes or pulls; where the C library has no such setting (musl), nothing changes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST)
        mallopt(_M_TRIM_THRESHOLD, _LARGEST)
