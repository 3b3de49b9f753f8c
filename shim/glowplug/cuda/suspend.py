"""CUDA state of a running container taken off its devices for a capture, and put back afterwards.

suspend() before the freeze: CUDA hangs in a frozen cgroup. Then freeze, dump and thaw; then resume().
"""

from __future__ import annotations

from glowplug.cuda import process_group, processes, rescue
from glowplug.errors import CudaError
from glowplug.host import proc

_UNLOCK = 10.0


class Suspension:
    """One container's CUDA processes, checkpointed while this context lasts; the end of it alone resumes
    nothing.
    """

    def __init__(
        self, choice: str = "auto", library: str = "libcuda.so.1", program: str = "cuda-checkpoint"
    ) -> None:
        self._engine = [choice, library, program]
        self._group = process_group.ProcessGroup(choice, library, program)
        self._rescue: rescue.Rescue | None = None
        self.without: dict[int, str] = {}
        """What the driver said, at find(), of processes that map libcuda and use no CUDA."""

    def __enter__(self) -> Suspension:
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers; what suspend() took and resume() did not give back, the rescue gives back
        now.
        """
        self._group.__exit__()
        if self._rescue is not None:
            self._rescue.act()

    def find(self, tree: list[int]) -> list[int]:
        """The processes of a running tree that use CUDA (the host's PIDs); changes nothing.

        Raises CudaError when the driver can't be queried, or when one of them is not running as far as CUDA
        goes.
        """
        candidates = processes.mapping_libcuda(tree)
        if not candidates:
            return []
        self.without = self._group.attach(candidates)
        states = self._group.states(_UNLOCK)
        elsewhere = [
            f"{pid} ({proc.name(pid)}) is {state}" for pid, state in states.items() if state != "running"
        ]
        if elsewhere:
            raise CudaError(
                f"expected every CUDA process running before a capture, got {', '.join(elsewhere)}"
            )
        return self._group.pids

    def suspend(self, lock_timeout: float, timeout: float) -> None:
        """Lock and checkpoint what find() found. Seconds: to finish submitted work, and for the device
        memory.

        Raises CudaError with every process running again, or process_group.CudaLost: kill the tree. After
        process_group.WorkerDied the end of this context has them brought back.
        """
        self._rescue = rescue.Rescue(self._engine, self._group.worker_pids, self._group.pids)
        try:
            self._group.lock(lock_timeout)
            self._group.checkpoint(timeout)
        except process_group.WorkerDied:
            raise
        except CudaError:
            self._stand_down()
            raise

    def resume(self, timeout: float) -> None:
        """Restore and unlock what suspend() took. Raises process_group.CudaLost: kill the tree; WorkerDied as above."""
        try:
            self._group.restore(timeout)
            self._group.unlock(_UNLOCK)
        except process_group.WorkerDied:
            raise
        except CudaError:
            self._stand_down()
            raise
        self._stand_down()

    def forget(self) -> None:
        """The processes are gone with all that suspend() took: there is nothing to give back."""
        self._stand_down()

    def _stand_down(self) -> None:
        if self._rescue is not None:
            self._rescue.not_needed()
            self._rescue = None
