"""Something drawn at start and kept on a GPU: the real one through PyTorch, or none for a machine without."""

from __future__ import annotations

import ctypes
import os


class OnTorch:
    """A random tensor and a counter on the device, and a ballast of `gib` GiB where there is space for it."""

    def __init__(self, gib: float) -> None:
        import torch

        self._torch = torch
        self._token = torch.frombuffer(bytearray(os.urandom(1 << 16)), dtype=torch.uint8).cuda()
        self._steps = torch.zeros(1, dtype=torch.int64, device="cuda")
        try:
            self._ballast = torch.randint(0, 1 << 30, (int(gib * (1 << 30)) // 8,), device="cuda")
        except torch.cuda.OutOfMemoryError:
            self._ballast = torch.zeros(1, dtype=torch.int64, device="cuda")
        torch.cuda.synchronize()

    def token(self) -> str:
        """A checksum made on the device of everything that is there."""
        total = self._token.to(self._torch.int64).cumsum(0).sum() + self._ballast.sum()
        return f"{total.item() & 0xFFFFFFFFFFFFFFFF:016x}-{bytes(self._token[:8].cpu().tolist()).hex()}"

    def step(self) -> int:
        """One kernel that adds one to the counter; the counter."""
        self._steps += 1
        return int(self._steps.item())

    def where(self) -> str:
        """The UUID of the device."""
        return str(self._torch.cuda.get_device_properties(0).uuid)


class OnFake:
    """The fake driver's CUDA: a state and a restore thread, and a token in the process's own memory."""

    def __init__(self, library: str) -> None:
        self._library = ctypes.CDLL(library)
        if self._library.cuInit(0) != 0:
            raise RuntimeError("the fake driver's cuInit failed")
        self._token = os.urandom(8).hex()
        self._steps = 0

    def token(self) -> str:
        return self._token

    def step(self) -> int:
        self._steps += 1
        return self._steps

    def where(self) -> str:
        return "fake"


def allocate() -> OnTorch | OnFake:
    """By the environment: CHECK_FAKE_DRIVER names the fake's library, CHECK_BALLAST_GIB the ballast."""
    library = os.environ.get("CHECK_FAKE_DRIVER")
    return OnFake(library) if library else OnTorch(float(os.environ.get("CHECK_BALLAST_GIB", "0")))
