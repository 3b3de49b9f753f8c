"""Which engine makes the driver calls: libcuda itself, or the `cuda-checkpoint` program.

Loaded by a worker process only.
"""

from __future__ import annotations

from typing import Protocol

from glowplug.cuda import uuids
from glowplug.cuda.driver import Driver
from glowplug.errors import CudaError

CHOICES = ("auto", "driver", "program")


class Engine(Protocol):
    """What both engines do; see Driver for each call."""

    name: str
    version: int

    def state(self, pid: int) -> str:
        """The process's state by the driver: running, locked, checkpointed or failed."""

    def restore_thread(self, pid: int) -> int:
        """The host's TID of the driver's restore thread."""

    def lock(self, pid: int, timeout_ms: int) -> None:
        """Keep new CUDA calls waiting and finish those that run."""

    def checkpoint(self, pid: int) -> None:
        """Move device memory into host memory and give the device back."""

    def restore(self, pid: int, pairs: uuids.Pairs) -> None:
        """Bring device memory back, each captured GPU to its pair."""

    def unlock(self, pid: int) -> None:
        """Let CUDA calls continue."""


def pick(choice: str, library: str, program: str) -> Engine:
    """The requested engine; `auto` takes libcuda, and the program where libcuda lacks the functions.

    Raises CudaError when there is neither, with what each of them lacked.
    """
    if choice == "driver":
        return Driver(library)
    if choice not in CHOICES:
        raise CudaError(f"expected one of {', '.join(CHOICES)} as the CUDA engine, got {choice!r}")
    from glowplug.cuda.program import Program  # where libcuda serves, it is not needed

    if choice == "program":
        return Program(program)
    try:
        return Driver(library)
    except CudaError as lacking:
        try:
            return Program(program)
        except CudaError as missing:
            raise CudaError(f"{lacking}; {missing}") from lacking
