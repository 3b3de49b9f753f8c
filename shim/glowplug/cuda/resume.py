"""CUDA state brought back into the processes that CRIU has just restored and left stopped.

The runtime's way: open() before `runc restore` (the workers load libcuda meanwhile), bring_back() after it,
the pipeline's health check, then release(). Without release() the traced processes are killed at the end of the
context.
"""

from __future__ import annotations

import time

from glowplug.cuda import process_group, processes, ptrace_hold, uuids

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Callable

_SEIZE = 5.0
_UNLOCK = 10.0


class Resumption:
    """One container's CUDA processes on their way back. Use as a context."""

    def __init__(self, group: process_group.ProcessGroup) -> None:
        self._group = group
        self._hold = ptrace_hold.Hold()
        self.seconds: dict[str, float] = {}
        """How long each step took: attach, hold, restore, unlock."""

    def __enter__(self) -> Resumption:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._hold.__exit__()
        finally:
            self._group.__exit__()

    def bring_back(
        self,
        tree: list[int],
        expected: list[int],
        pairs: uuids.Pairs,
        timeout: float,
        memory_is_there: Callable[[], None] = lambda: None,
    ) -> list[int]:
        """Restore and unlock every CUDA process of a tree, no thread of theirs but the restore threads
        running.

        tree: the host's PIDs of the restored processes, all stopped. expected: PIDs, in the container's PID
        namespace, that used CUDA at the capture. timeout: seconds for all of it. memory_is_there: called before
        the driver looks at a process; it returns once their memory is there. Returns the CUDA
        processes' PIDs on the host; their threads are traced until release(). Raises CudaError: kill the tree,
        whatever the class.
        """
        deadline = time.monotonic() + timeout
        known = processes.by_namespace_pid(tree, expected)
        candidates = sorted({*known, *processes.mapping_libcuda(tree)})
        memory_is_there()
        began = time.monotonic()
        self._group.attach(candidates, known)
        began = self._took("attach", began)
        # Not beside the writing of memory: each thread has to run for a moment to stop for us, and while all cores are
        # busy that takes ten times as long.
        for pid in self._group.pids:
            self._hold.seize(pid, _SEIZE)
        for tid in self._group.restore_threads.values():
            self._hold.let_run(tid)
        began = self._took("hold", began)
        self._group.restore(deadline - time.monotonic(), pairs, meanwhile=self._hold.tend)
        began = self._took("restore", began)
        self._group.unlock(_UNLOCK, meanwhile=self._hold.tend)
        self._took("unlock", began)
        return self._group.pids

    def release(self) -> None:
        """Let every traced thread run. The other processes of the tree are still stopped: SIGCONT is the
        caller's.
        """
        self._hold.release(_SEIZE)

    def _took(self, step: str, began: float) -> float:
        now = time.monotonic()
        self.seconds[step] = now - began
        return now


def open_resumption(
    count: int, choice: str = "auto", library: str = "libcuda.so.1", program: str = "cuda-checkpoint"
) -> Resumption:
    """A Resumption whose workers, one for each of `count` CUDA processes, start loading libcuda now.

    Raises CudaError when a worker can't be started.
    """
    group = process_group.ProcessGroup(choice, library, program)
    group.start(count)
    return Resumption(group)
