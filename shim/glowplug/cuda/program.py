"""The `cuda-checkpoint` program, the other engine: the same calls through NVIDIA's own front to libcuda.

Flags as its --help prints them: --get-state, --get-restore-tid, --action, --timeout, --device-map (driver
580). Loaded by a worker process only.
"""

from __future__ import annotations

import os
import subprocess

from glowplug.cuda import uuids
from glowplug.cuda.driver import STATES
from glowplug.errors import CudaError


def find(name: str) -> str | None:
    """The path of the program on PATH, or `name` itself where it is a path; None when there is none."""
    if "/" in name:
        return name if os.access(name, os.X_OK) else None
    for folder in os.get_exec_path():
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return None


class Program:
    """The engine that runs `cuda-checkpoint`. Every method raises CudaError with what the program said."""

    name = "program"

    def __init__(self, program: str = "cuda-checkpoint") -> None:
        """Raises CudaError when there is no such program."""
        path = find(program)
        if path is None:
            raise CudaError(f"the program {program} is not in PATH; install it from NVIDIA/cuda-checkpoint")
        self._path = path
        self.version = 0

    def state(self, pid: int) -> str:
        """The CUDA state of a process as the program prints it."""
        said = self._run("--get-state", "--pid", str(pid))
        return said if said in STATES else f"state {said!r}"

    def restore_thread(self, pid: int) -> int:
        """The host's TID of the driver's restore thread in a process."""
        said = self._run("--get-restore-tid", "--pid", str(pid))
        if not said.isdigit() or int(said) <= 0:
            raise CudaError(
                f"cuda-checkpoint --get-restore-tid of process {pid}: expected a TID, got {said!r}"
            )
        return int(said)

    def lock(self, pid: int, timeout_ms: int) -> None:
        """As Driver.lock."""
        self._run("--action", "lock", "--pid", str(pid), "--timeout", str(timeout_ms))

    def checkpoint(self, pid: int) -> None:
        """As Driver.checkpoint."""
        self._run("--action", "checkpoint", "--pid", str(pid))

    def restore(self, pid: int, pairs: uuids.Pairs) -> None:
        """As Driver.restore."""
        mapped = ("--device-map", uuids.to_text(pairs)) if pairs else ()
        self._run("--action", "restore", "--pid", str(pid), *mapped)

    def unlock(self, pid: int) -> None:
        """As Driver.unlock."""
        self._run("--action", "unlock", "--pid", str(pid))

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [self._path, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode != 0:
            said = " ".join((done.stderr + " " + done.stdout).split()) or "nothing"
            raise CudaError(
                f"cuda-checkpoint {' '.join(arguments)}: exit status {done.returncode}, it said: {said}"
            )
        return done.stdout.strip()
