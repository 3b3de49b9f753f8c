"""Threads of restored CUDA processes traced by ptrace(2) until their CUDA state is back.

CRIU leaves the tree stopped (`leave-stopped`). Each thread of each CUDA process is seized; then only the
driver's restore thread is let run, with every signal but SIGTRAP blocked, as CRIU's own CUDA plugin does.
Should our process end before release(), PTRACE_O_EXITKILL kills the traced ones: they never run as what may
still be thrown away.

ptrace belongs to the thread that attached: one thread makes all calls of a Hold.
"""

from __future__ import annotations

import ctypes
import errno
import os
import time

from glowplug.errors import CudaError
from glowplug.host import proc, process_life, ptrace
from glowplug.host.ptrace import (
    PTRACE_CONT,
    PTRACE_DETACH,
    PTRACE_EVENT_STOP,
    PTRACE_GETSIGMASK,
    PTRACE_INTERRUPT,
    PTRACE_O_EXITKILL,
    PTRACE_SEIZE,
    PTRACE_SETSIGMASK,
    WALL,
)

_SIGSET_SIZE = 8
_ALL_BUT_SIGTRAP = ~(1 << (process_life.SIGTRAP - 1)) & 0xFFFFFFFFFFFFFFFF


class Hold:
    """Traced threads of several processes. Use as a context: an end without release() kills their processes."""

    def __init__(self) -> None:
        self._stopped: dict[int, int] = {}
        """Traced thread → the signal that it was stopped on the way to, to be delivered at release; 0 for
        none.
        """
        self._pids: list[int] = []
        self._running: dict[int, int] = {}
        """Thread let run → its own signal mask."""

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pids:
            self.kill(5.0)

    def seize(self, pid: int, timeout: float) -> None:
        """Hold every thread of a process, stopped or not, and end its group stop.

        timeout in seconds. Raises CudaError when a thread can't be seized, or does not stop (a frozen
        cgroup).
        """
        deadline = time.monotonic() + timeout
        self._pids.append(pid)
        while fresh := [tid for tid in proc.tasks(pid) if tid not in self._stopped]:
            for tid in fresh:
                self._seize_thread(tid, deadline)
        if not proc.tasks(pid):
            raise CudaError(f"process {pid} is gone, whose threads were to be traced")
        os.kill(
            pid, process_life.SIGCONT
        )  # or the restore thread would go back into the group stop that CRIU left

    def let_run(self, tid: int) -> None:
        """Let one traced thread run, with no signal but SIGTRAP delivered. Raises CudaError when it is not
        traced.
        """
        if tid not in self._stopped:
            raise CudaError(f"the driver's restore thread {tid} is not among the traced threads")
        try:
            mask = ctypes.c_uint64(0)
            ptrace.call(PTRACE_GETSIGMASK, tid, _SIGSET_SIZE, ctypes.addressof(mask))
            self._set_mask(tid, _ALL_BUT_SIGTRAP)
            self._running[tid] = mask.value
            ptrace.call(PTRACE_CONT, tid)
        except OSError as error:
            raise CudaError(f"could not let the restore thread run: {error}") from error

    def tend(self) -> None:
        """Set threads that were let run going again where ptrace stopped them; call it every few
        milliseconds.

        Raises CudaError when one of them has died.
        """
        for tid in self._running:
            stop = _wait(tid)
            if stop is None:
                continue
            try:
                ptrace.call(PTRACE_CONT, tid, 0, _signal_of(stop))
            except OSError as error:
                raise CudaError(f"could not keep the restore thread running: {error}") from error

    def release(self, timeout: float) -> None:
        """Let every traced thread continue as it was. Raises CudaError when one can't be let go; then kill the
        tree.

        A process that a waiting signal ends as soon as its first thread goes is no error: that is its own
        end.
        """
        deadline = time.monotonic() + timeout
        ended = set()
        try:
            for tid, mask in list(self._running.items()):
                ptrace.call(PTRACE_INTERRUPT, tid)
                self._stopped[tid] = _await_stop(tid, deadline)
                self._set_mask(tid, mask)
                del self._running[tid]
            for tid, pending in list(self._stopped.items()):
                del self._stopped[tid]
                try:
                    ptrace.call(PTRACE_DETACH, tid, 0, pending)
                except ProcessLookupError:
                    ended.add(tid)
        except OSError as error:
            raise CudaError(f"could not let a traced thread go: {error}") from error
        self._pids = []
        _take_in(ended, deadline)

    def kill(self, timeout: float) -> bool:
        """Kill the traced processes and take in their threads' deaths. False when some did not die in time."""
        for pid in self._pids:
            try:
                os.kill(pid, process_life.SIGKILL)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + timeout
        left = _take_in(set(self._stopped) | set(self._running), deadline)
        self._stopped, self._running, self._pids = {}, {}, []
        return not left

    def _seize_thread(self, tid: int, deadline: float) -> None:
        try:
            ptrace.call(PTRACE_SEIZE, tid, 0, PTRACE_O_EXITKILL)
        except OSError as error:
            if error.errno == errno.ESRCH:  # it ended since it was listed
                return
            raise CudaError(f"could not hold a restored thread: {error}; is it being traced?") from error
        self._stopped[tid] = 0
        stop = _wait(tid)  # a thread in a group stop has stopped for us too
        if stop is None:
            ptrace.call(PTRACE_INTERRUPT, tid)
            self._stopped[tid] = _await_stop(tid, deadline)
        else:
            self._stopped[tid] = _signal_of(stop)

    @staticmethod
    def _set_mask(tid: int, mask: int) -> None:
        ptrace.call(PTRACE_SETSIGMASK, tid, _SIGSET_SIZE, ctypes.addressof(ctypes.c_uint64(mask)))


def _wait(tid: int) -> int | None:
    """The status of a traced thread's stop, without waiting; None while it runs. Raises CudaError when it
    died.
    """
    try:
        found, status = os.waitpid(tid, os.WNOHANG | WALL)
    except ChildProcessError as error:
        raise CudaError(f"thread {tid} is not traced by this thread: {error}") from error
    if not found:
        return None
    if not os.WIFSTOPPED(status):
        raise CudaError(f"traced thread {tid} died: {os.waitstatus_to_exitcode(status)}")
    return status


def _await_stop(tid: int, deadline: float) -> int:
    """Wait until a thread has stopped; returns the signal that the stop kept from it, 0 for none."""
    while (stop := _wait(tid)) is None:
        if time.monotonic() > deadline:
            raise CudaError(f"thread {tid} did not stop before the deadline: is its cgroup frozen?")
        time.sleep(0.001)
    return _signal_of(stop)


def _signal_of(status: int) -> int:
    """The signal to deliver after a stop: none for ptrace's own stops and for the SIGSTOP that CRIU sent."""
    if status >> 16 == PTRACE_EVENT_STOP:
        return 0
    number = os.WSTOPSIG(status)
    return 0 if number in (process_life.SIGSTOP, process_life.SIGTRAP) else number


def _take_in(tids: set[int], deadline: float) -> set[int]:
    """Wait for the deaths of traced threads that are dying; returns those that had not died by the deadline.

    Until its tracer has seen it, a dead thread stays a zombie, and its parent hears nothing; a leader comes
    last.
    """
    while (tids := {tid for tid in tids if not _gone(tid)}) and time.monotonic() < deadline:
        time.sleep(0.002)
    return tids


def _gone(tid: int) -> bool:
    """Whether a killed thread is gone, its death taken in."""
    try:
        found, status = os.waitpid(tid, os.WNOHANG | WALL)
    except ChildProcessError:
        return True
    return bool(found) and not os.WIFSTOPPED(status)
