"""The driver's checkpoint functions tried on a process of our own: off its GPU, and back. Agent's side."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass

from glowplug.cuda.process_group import ProcessGroup
from glowplug.errors import CudaError

_PROBE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "probe.py")
_READY_S = 30.0
"""Until the probe has its context: an 8-GPU host without the persistence daemon takes several seconds."""
_CALL_S = 20.0


class NoContext(CudaError):
    """No GPU gave our process a context: all are full, or in exclusive use. It says nothing of checkpoints."""


@dataclass(frozen=True, slots=True)
class Trial:
    """It worked. engine: "driver" or "program"; seconds: from lock to unlock."""

    engine: str
    seconds: float


def run(choice: str = "auto", library: str = "libcuda.so.1", program: str = "cuda-checkpoint") -> Trial:
    """Lock, checkpoint, restore, unlock. Raises CudaError naming the call that failed, NoContext."""
    probe = subprocess.Popen(
        [sys.executable, "-IS", _PROBE, library],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_ready(probe)
        with ProcessGroup(choice, library, program) as group:
            group.attach([probe.pid], expected=[probe.pid])
            before = time.monotonic()
            _there_and_back(group)
            return Trial(group.engine, time.monotonic() - before)
    finally:
        probe.kill()
        probe.communicate()


def _there_and_back(group: ProcessGroup) -> None:
    group.lock(_CALL_S)
    group.checkpoint(_CALL_S)
    _expect(group, "checkpointed")
    group.restore(_CALL_S)
    group.unlock(_CALL_S)
    _expect(group, "running")


def _expect(group: ProcessGroup, wanted: str) -> None:
    (found,) = group.states(_CALL_S).values()
    if found != wanted:
        raise CudaError(f"expected the process that was tried {wanted}, the driver says it is {found}")


def _wait_ready(probe: subprocess.Popen[bytes]) -> None:
    assert probe.stdout is not None
    if not select.select([probe.stdout], [], [], _READY_S)[0]:
        raise NoContext(f"no GPU gave a context within {_READY_S:g} s")
    said = probe.stdout.readline().decode("utf-8", "replace").strip()
    if said != "ready":
        raise NoContext(f"no GPU gave a context: {said or 'the process died'}")
