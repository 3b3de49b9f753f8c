"""The GPU side of a restore. Imported by the runtime only where the checkpoint has CUDA."""

from __future__ import annotations

import os

from glowplug.cuda import devnodes, initialised, resume, uuids
from glowplug.errors import CudaError
from glowplug.host import proc, process, process_life

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from glowplug.checkpoint.bundle import BundleFacts


class Gpu:
    """One container's CUDA state on its way back; `close` on every way out."""

    def __init__(self, cuda_pids: list[int], captured: Iterable[str], device_map: str) -> None:
        """cuda_pids: the processes that used CUDA, by their pids in the container. captured: the UUIDs of the GPUs
        that they had. device_map: `old=new,…` or "".

        Starts the processes that make the driver's calls. Raises CudaError.
        """
        self._cuda_pids = cuda_pids
        self._pairs = uuids.from_text(device_map)
        other = dict(self._pairs)
        self._resumption = resume.open_resumption(len(cuda_pids))
        self._initialised = initialised.Initialised(other.get(uuid, uuid) for uuid in captured)
        self._tree: list[int] = []

    def bring_back(
        self, init: int, facts: BundleFacts, left_s: float, memory_is_there: Callable[[], None] = lambda: None
    ) -> None:
        """Device nodes, then CUDA state, of the stopped tree of `init` (host pid). `memory_is_there`: as of
        `Resumption.bring_back`; what it raises is raised.

        Raises CudaError, with what a known result of the driver means and what to do.
        """
        self._tree = process.tree(init)
        devnodes.align(init, facts)
        try:
            self._resumption.bring_back(self._tree, self._cuda_pids, self._pairs, left_s, memory_is_there)
        except CudaError as error:
            from glowplug import known_errors  # of no use to a restore that goes well

            raise known_errors.of_driver(error) from error
        self._initialised.let_go()

    def let_run(self, stopped: Collection[int] = ()) -> None:
        """Everybody runs, but those that a signal had stopped before the capture (pids in the container). Raises
        CudaError.

        The health check has seen all of them: one that is gone now was ended by another that runs already.
        """
        self._resumption.release()
        for pid in self._tree:
            if proc.number_inside(pid) in stopped:
                continue
            try:
                os.kill(pid, process_life.SIGCONT)
            except ProcessLookupError:
                continue

    def close(self) -> None:
        """What is still traced is killed, and the processes that make the driver's calls are let go."""
        try:
            self._resumption.__exit__()
        finally:
            self._initialised.close()

    @property
    def seconds(self) -> dict[str, float]:
        """How long each part took, `cuda_restore` and so on."""
        return {f"cuda_{part}": round(took, 4) for part, took in self._resumption.seconds.items()}
