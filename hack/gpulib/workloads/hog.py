"""Takes the free memory of device 0 except for so many GiB, and keeps it: hog.py GIB_LEFT."""

from __future__ import annotations

import sys

import torch


def main() -> None:
    """`ready` when it holds the memory; ends with its input."""
    left = int(float(sys.argv[1]) * (1 << 30))
    torch.zeros(1, device="cuda")
    free, _ = torch.cuda.mem_get_info()
    kept = torch.empty(max(0, free - left), dtype=torch.uint8, device="cuda")
    torch.cuda.synchronize()
    print("ready", kept.numel(), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
