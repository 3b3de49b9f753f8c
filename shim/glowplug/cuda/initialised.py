"""A process that keeps the driver initialised on a container's GPUs while its CUDA state is away.

Where no other process has a GPU open, cuCheckpointProcessRestore initialises it first: 0.09 s on an H200 in persistence
mode (docs/benchmarks.md). This process calls cuInit (CUDA driver API) beforehand, beside other work, and makes no
context, so it takes no device memory. Nobody waits for it, and what fails in it only costs that time: it makes no call
for a process of the container.
"""

from __future__ import annotations

import os
import sys
import time

from glowplug.host import process_life

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Iterable

_PROGRAM = """\
import ctypes, os, sys
os.closerange(3, os.sysconf("SC_OPEN_MAX"))
ctypes.CDLL(sys.argv[1]).cuInit(0)
os.read(0, 1)
"""
"""It ends at the end of its input: when we close it, or die."""
_DIES = 0.5
"""Seconds that the killed process has to die; one that is stuck in the driver is left behind."""


class Initialised:
    """The process. `let_go` once the CUDA state is back; `close` on every way out."""

    def __init__(self, gpus: Iterable[str], library: str = "libcuda.so.1") -> None:
        """gpus: the UUIDs of the GPUs; no others are initialised. Without any, or where none can be started, there is
        no process."""
        self.pid: int | None = None
        visible = ",".join(gpus)
        if not visible:
            return
        python = sys.executable or "/proc/self/exe"
        # MPS is bypassed: its daemon would start a server on the GPU for a client like this one.
        env = {**os.environ, "CUDA_VISIBLE_DEVICES": visible, "CUDA_MPS_PIPE_DIRECTORY": "/dev/null"}
        try:
            asks, self._asks = os.pipe()
        except OSError:  # no more descriptors
            return
        try:
            self.pid = os.posix_spawn(
                python,
                [python, "-IS", "-c", _PROGRAM, library],
                env,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, asks, 0),
                    (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
                ],
                setpgroup=0,
            )
        except OSError:
            os.close(self._asks)
        finally:
            os.close(asks)

    def let_go(self) -> None:
        """Kill it; does not wait for its end, in which the kernel closes its devices."""
        if self.pid is not None:
            os.kill(self.pid, process_life.SIGKILL)

    def close(self) -> None:
        """Kill it and reap it."""
        if self.pid is None:
            return
        os.close(self._asks)
        self.let_go()
        deadline = time.monotonic() + _DIES
        while not os.waitpid(self.pid, os.WNOHANG)[0] and time.monotonic() < deadline:
            time.sleep(0.002)
        self.pid = None
