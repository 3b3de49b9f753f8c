"""Gives a container its CUDA state back when the capture that took it away dies. Run as a program.

`python -IS rescue.py CHOICE LIBRARY PROGRAM WORKERS PIDS`, both lists comma-separated. Started before the
first lock; at `done` on its input it ends quietly. When its input just ends, it waits until the dead
capture's workers have finished their calls, and brings every process back to running. A call on a frozen
process waits until it is thawed, which is the freeze's own guard's work.
"""

from __future__ import annotations

import os
import signal
import sys
import time

if __name__ == "__main__":  # -I leaves our own package off the path
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from glowplug.cuda import process_group
from glowplug.errors import CudaError
from glowplug.host import process

_CALLS_END = 300.0
_BACK = 300.0


class Rescue:
    """The process that stands by. Use as a context around the time in which CUDA is away."""

    def __init__(self, engine: list[str], workers: list[int], pids: list[int]) -> None:
        lists = [",".join(map(str, numbers)) for numbers in (workers, pids)]
        reported, self._say = os.pipe()
        try:
            python = sys.executable or "/proc/self/exe"
            self._pid = os.posix_spawn(
                python,
                [python, "-IS", os.path.abspath(__file__), *engine, *lists],
                dict(os.environ),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, reported, 0),
                    (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
                ],
                setpgroup=0,
            )
        except OSError as error:
            os.close(self._say)
            raise CudaError(f"could not start the process that stands by for a capture: {error}") from error
        finally:
            os.close(reported)

    def act(self) -> None:
        """Have it bring CUDA back now; does not wait for it."""
        os.close(self._say)

    def not_needed(self) -> None:
        """CUDA is back, or lost for good: let it end."""
        os.write(self._say, b"done")
        os.close(self._say)
        os.waitpid(self._pid, 0)


def main(choice: str, library: str, program: str, workers: str, pids: str) -> int:
    """Stand by; 0 when there was nothing to do or all is back."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    if os.read(0, 4) == b"done":
        return 0
    deadline = time.monotonic() + _CALLS_END
    callers = [int(pid) for pid in workers.split(",")]
    while not all(map(process.is_zombie, callers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    with process_group.ProcessGroup(choice, library, program) as group:
        group.attach([pid for pid in map(int, pids.split(",")) if not process.is_zombie(pid)])
        group.recover(_BACK)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
