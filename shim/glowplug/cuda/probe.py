"""A small process that holds CUDA and does nothing, for `cuda/trial.py`. Run as a program: `probe.py LIBRARY`.

It says `ready`, or what the driver said instead, and ends when its input does.
"""

from __future__ import annotations

import ctypes
import sys

CUDA_SUCCESS = 0


def main(library: str) -> str:
    """Make a context on the first GPU that gives one; what to say."""
    cuda = ctypes.CDLL(library)
    result = cuda.cuInit(ctypes.c_uint(0))
    count = ctypes.c_int(0)
    if result == CUDA_SUCCESS:
        result = cuda.cuDeviceGetCount(ctypes.byref(count))
    if result != CUDA_SUCCESS:
        return f"CUresult {result}"
    for ordinal in range(count.value):
        device, context = ctypes.c_int(0), ctypes.c_void_p()
        cuda.cuDeviceGet(ctypes.byref(device), ctypes.c_int(ordinal))
        result = cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
        if result == CUDA_SUCCESS:
            return "ready"
    return f"CUresult {result} of each of {count.value} GPUs"


if __name__ == "__main__":
    print(main(sys.argv[1]), flush=True)  # noqa: T201
    sys.stdin.read()
