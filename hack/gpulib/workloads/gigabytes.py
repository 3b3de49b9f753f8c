"""Gigabytes of random data in memory of CUDA, and a digest of all of them: gigabytes.py device|pinned GIB.

device: device memory. pinned: host memory that the driver has pinned, which is shared anonymous memory. Says
`"ready"`, and answers each line on stdin with the digest, one line of JSON. With CHECK_FAKE_DRIVER, the fake
driver's library, the memory is the process's own.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import mmap
import os
import sys
from typing import Any

WORD = 8
CHUNK = 1 << 27  # words looked at in one go: 1 GiB
ODD = -7046029254386353131  # 0x9e3779b97f4a7c15, any large odd number


class OnTorch:
    """64-bit words drawn on the device; each counts in the digest by a weight of its own."""

    def __init__(self, kind: str, size: int) -> None:
        import torch

        self._torch = torch
        words = size // WORD
        if kind == "device":
            self._words = torch.empty(words, dtype=torch.int64, device="cuda").random_()
        else:
            self._words = torch.empty(words, dtype=torch.int64, pin_memory=True)
            for part in self._parts():
                part.copy_(torch.empty(len(part), dtype=torch.int64, device="cuda").random_())
        self._tidy()

    def digest(self) -> str:
        """Of every word, made on the device: a sum modulo 2**64 with odd weights, which no changed word leaves."""
        total = first = 0
        for part in self._parts():
            at = self._torch.arange(first, first + len(part), device="cuda")
            total += int(((at * ODD | 1) * part.cuda()).sum().item())
            first += len(part)
            del at
        self._tidy()
        return f"{total & 0xFFFFFFFFFFFFFFFF:016x}"

    def _parts(self) -> list[Any]:
        return [self._words[at : at + CHUNK] for at in range(0, len(self._words), CHUNK)]

    def _tidy(self) -> None:
        """No device memory but the words' own: what the allocator keeps would be captured too."""
        self._torch.cuda.synchronize()
        self._torch.cuda.empty_cache()


class OnFake:
    """The fake driver, and memory of the kind that the real one would leave to a dump."""

    def __init__(self, library: str, kind: str, size: int) -> None:
        self._library = ctypes.CDLL(library)
        if self._library.cuInit(0) != 0:
            raise RuntimeError("the fake driver's cuInit failed")
        shared = mmap.MAP_PRIVATE if kind == "device" else mmap.MAP_SHARED
        self._memory = mmap.mmap(-1, size, flags=shared | mmap.MAP_ANONYMOUS)
        noise = os.urandom(1 << 20)
        for at in range(0, size, len(noise)):
            self._memory[at : at + len(noise)] = noise[: size - at]

    def digest(self) -> str:
        return hashlib.blake2b(self._memory, digest_size=8).hexdigest()


def main() -> None:
    kind, size = sys.argv[1], int(float(sys.argv[2]) * (1 << 30)) // mmap.PAGESIZE * mmap.PAGESIZE
    library = os.environ.get("CHECK_FAKE_DRIVER")
    memory = OnFake(library, kind, size) if library else OnTorch(kind, size)
    print(json.dumps("ready"), flush=True)
    for _ in sys.stdin:
        print(json.dumps(memory.digest()), flush=True)


if __name__ == "__main__":
    main()
