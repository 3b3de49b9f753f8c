"""The CUDA processes of one container, each driver call made on all of them at once, with one deadline.

A driver call can't be interrupted or repeated. So each process of the container gets a worker process,
which makes its calls; we wait for all of them with poll(2), and past the deadline kill the workers and
leave behind any that does not die. Threads would not do: one stuck in the driver keeps its process from
exit and from execve.
"""

from __future__ import annotations

import os
import select
import sys
import time

from glowplug.cuda import uuids
from glowplug.errors import CudaError
from glowplug.host import process_life

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Callable

_WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "worker.py")
_TICK = 0.02
"""Seconds between two calls of `meanwhile` while the driver works."""
_START = 20.0
"""Seconds that a worker may take to load libcuda; cuInit on a busy 8-GPU host has taken several."""
_SOUND = ("running", "locked", "checkpointed")
_DIES = 0.5
"""Seconds that a killed worker has to die."""
_LOCK_MARGIN = 5.0
"""Seconds past a lock's own timeout in which the driver must have answered."""


class CudaLost(CudaError):
    """A process whose CUDA state is unknown or gone: kill the tree, nothing brings it back."""


class WorkerDied(CudaError):
    """A worker died between two calls. Every process is sound, but not all of them are where the others are."""


class _Worker:
    """One worker process and what it has said so far."""

    def __init__(self, arguments: list[str]) -> None:
        asks, self.asks = os.pipe()
        self.says, says = os.pipe()
        try:
            self.pid = os.posix_spawn(
                sys.executable or "/proc/self/exe",
                [sys.executable or "python3", "-IS", _WORKER, *arguments],
                dict(os.environ),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, asks, 0),
                    (os.POSIX_SPAWN_DUP2, says, 1),
                    (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
                ],
                setpgroup=0,
            )
        except OSError as error:
            os.close(self.asks)
            os.close(self.says)
            raise CudaError(f"could not start a worker for driver calls: {error}") from error
        finally:
            os.close(asks)
            os.close(says)
        self.heard = b""
        self.busy = False

    def ask(self, line: str) -> None:
        try:
            os.write(self.asks, line.encode() + b"\n")
            self.busy = True
        except BrokenPipeError as error:
            raise WorkerDied(f"the worker for driver calls died before: {line}") from error

    def line(self) -> str | None:
        """The next complete line that it said, read without waiting; None when there is none yet.

        At its end what it had begun to say is nothing: `heard` is empty then.
        """
        if b"\n" not in self.heard:
            more = os.read(self.says, 65536)
            self.heard = self.heard + more if more else b""
        first, newline, rest = self.heard.partition(b"\n")
        if not newline:
            return None
        self.heard = rest
        self.busy = False
        return first.decode("utf-8", "replace")

    def end(self, *, kill: bool = False) -> None:
        """Let it go. One that is in a call ends after it, as no call may be interrupted; or is killed.

        A killed one that does not die, stuck in the driver, is left behind.
        """
        os.close(self.asks)
        os.close(self.says)
        if self.busy and not kill:
            return
        if not os.waitpid(self.pid, os.WNOHANG)[0]:
            os.killpg(self.pid, process_life.SIGKILL)
        deadline = time.monotonic() + _DIES
        while time.monotonic() < deadline:
            try:
                if os.waitpid(self.pid, os.WNOHANG)[0]:
                    return
            except ChildProcessError:
                return
            time.sleep(0.002)


class ProcessGroup:
    """Driver calls on several processes at once. Use as a context; workers are ended at its end.

    start() early hides the workers' own start behind other work; attach() then says who they work for.
    Every method raises CudaError; CudaLost when the container's processes can't be used any more.
    """

    def __init__(
        self, choice: str = "auto", library: str = "libcuda.so.1", program: str = "cuda-checkpoint"
    ) -> None:
        self._arguments = [choice, library, program]
        self._idle: list[_Worker] = []
        self._workers: dict[int, _Worker] = {}
        self.engine = ""
        self.version = 0
        self.restore_threads: dict[int, int] = {}
        """Each CUDA process's restore thread, by the host's PID of the process."""

    def __enter__(self) -> ProcessGroup:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in [*self._idle, *self._workers.values()]:
            worker.end()
        self._idle, self._workers = [], {}

    @property
    def worker_pids(self) -> list[int]:
        """The worker processes."""
        return [worker.pid for worker in [*self._idle, *self._workers.values()]]

    @property
    def pids(self) -> list[int]:
        """The processes that use CUDA."""
        return sorted(self.restore_threads)

    def start(self, count: int) -> None:
        """Start `count` workers, which load libcuda meanwhile; does not wait for them."""
        self._idle += [_Worker(self._arguments) for _ in range(count)]

    def attach(self, candidates: list[int], expected: list[int] | None = None) -> dict[int, str]:
        """Find which of `candidates` use CUDA, by their restore threads. Returns what the driver said of
        the others.

        `expected`: those that must; raises CudaError when one of them holds none.
        """
        self.start(max(0, len(candidates) - len(self._idle)))
        group = dict(zip(candidates, self._idle, strict=False))
        self._idle = self._idle[len(group) :]
        self._workers.update(group)
        deadline = time.monotonic() + _START
        started = self._listen(candidates, deadline, "the start of the worker for", lost=False)
        for pid, said in started.items():
            word, _, rest = said.partition(" ")
            if word != "ready":
                raise CudaError(rest or f"the worker for process {pid} said {said!r}")
            self.engine, _, version = rest.partition(" ")
            self.version = int(version)
        others = {}
        for pid, said in self._all(
            "restore-thread", dict.fromkeys(candidates, ""), _START, lost=False
        ).items():
            word, _, rest = said.partition(" ")
            if word == "ok":
                self.restore_threads[pid] = int(rest)
            else:
                others[pid] = rest
                self._workers.pop(pid).end()
        lacking = [f"{pid}: {others[pid]}" for pid in expected or () if pid in others]
        if lacking:
            raise CudaError("processes that used CUDA at the capture use none now: " + "; ".join(lacking))
        return others

    def states(self, timeout: float) -> dict[int, str]:
        """The CUDA state of each process. Only where none of them is stopped."""
        return self._done(
            "state", self._all("state", dict.fromkeys(self.pids, ""), timeout, lost=False), lost=False
        )

    def lock(self, timeout: float) -> None:
        """Lock all processes, within `timeout` seconds. When one fails, unlocks the others and raises."""
        milliseconds = str(max(1, int(timeout * 1000)))
        replies = self._all("lock", dict.fromkeys(self.pids, milliseconds), timeout + _LOCK_MARGIN)
        locked = [pid for pid, said in replies.items() if not said.startswith("error")]
        if len(locked) < len(replies):
            self._done("unlock", self._all("unlock", dict.fromkeys(locked, ""), _LOCK_MARGIN), lost=True)
        self._done("lock", replies, lost=False)

    def checkpoint(self, timeout: float, meanwhile: Callable[[], None] | None = None) -> None:
        """Checkpoint all locked processes. When one fails, brings the others back and raises.

        CudaLost when a process is neither running nor locked afterwards; CudaError when all continue as before.
        """
        replies = self._all("checkpoint", dict.fromkeys(self.pids, ""), timeout, meanwhile)
        if any(said.startswith("error") for said in replies.values()):
            self.recover(timeout, _words(replies))
        self._done("checkpoint", replies, lost=False)

    def restore(
        self, timeout: float, pairs: uuids.Pairs = (), meanwhile: Callable[[], None] | None = None
    ) -> None:
        """Bring all checkpointed processes back to their devices, or to others by `pairs`; leaves them
        locked.
        """
        argument = dict.fromkeys(self.pids, uuids.to_text(pairs))
        self._done("restore", self._all("restore", argument, timeout, meanwhile), lost=True)

    def unlock(self, timeout: float, meanwhile: Callable[[], None] | None = None) -> None:
        """Let the CUDA calls of all processes continue."""
        self._done("unlock", self._all("unlock", dict.fromkeys(self.pids, ""), timeout, meanwhile), lost=True)

    def recover(self, timeout: float, after: str = "an interrupted capture") -> None:
        """Bring every process back to running from whatever state it is in. CudaLost when one can't be."""
        states = self._done("state", self._all("state", dict.fromkeys(self.pids, ""), timeout), lost=True)
        broken = [f"{pid} is {state}" for pid, state in states.items() if state not in _SOUND]
        if broken:
            raise CudaLost(f"{after}; afterwards process {', '.join(broken)}: kill the container")
        away = dict.fromkeys((pid for pid, state in states.items() if state == "checkpointed"), "")
        self._done("restore", self._all("restore", away, timeout), lost=True)
        locked = dict.fromkeys((pid for pid, state in states.items() if state != "running"), "")
        self._done("unlock", self._all("unlock", locked, timeout), lost=True)

    def _done(self, command: str, replies: dict[int, str], *, lost: bool) -> dict[int, str]:
        """The values of `replies`; raises when one is an error."""
        if any(not said.startswith("ok") for said in replies.values()):
            raise (CudaLost if lost else CudaError)(f"{command}: {_words(replies)}")
        return {pid: said.partition(" ")[2] for pid, said in replies.items()}

    def _all(
        self,
        command: str,
        arguments: dict[int, str],
        timeout: float,
        meanwhile: Callable[[], None] | None = None,
        *,
        lost: bool = True,
    ) -> dict[int, str]:
        deadline = time.monotonic() + timeout
        for pid, argument in arguments.items():
            self._workers[pid].ask(f"{command} {pid} {argument}".rstrip())
        return self._listen(list(arguments), deadline, command, meanwhile, lost=lost)

    def _listen(
        self,
        pids: list[int],
        deadline: float,
        wanted: str,
        meanwhile: Callable[[], None] | None = None,
        *,
        lost: bool,
    ) -> dict[int, str]:
        """One line of each worker, in time. Raises, with the workers killed, past the deadline."""
        replies: dict[int, str] = {}
        poll = select.poll()
        by_fd = {self._workers[pid].says: pid for pid in pids}
        for fd in by_fd:
            poll.register(fd, select.POLLIN)
        while by_fd:
            left = deadline - time.monotonic()
            if left <= 0:
                self._give_up(sorted(by_fd.values()), wanted, "the driver did not answer in time", lost)
            if meanwhile is not None:
                meanwhile()
                left = min(left, _TICK)
            for fd, _ in poll.poll(max(1, int(left * 1000))):
                said = self._workers[by_fd[fd]].line()
                if said is None and not self._workers[by_fd[fd]].heard:
                    self._give_up([by_fd[fd]], wanted, "its worker died in the call", lost)
                if said is not None:
                    replies[by_fd.pop(fd)] = said
                    poll.unregister(fd)
        return replies

    def _give_up(self, pids: list[int], wanted: str, why: str, lost: bool) -> None:
        for pid in pids:
            self._workers.pop(pid).end(kill=True)
            self.restore_threads.pop(pid, None)
        names = ", ".join(str(pid) for pid in pids)
        if lost:
            raise CudaLost(f"{wanted} process {names}: {why}; kill the container")
        raise CudaError(f"{wanted} process {names}: {why}")


def _words(replies: dict[int, str]) -> str:
    return "; ".join(said.partition(" ")[2] for said in replies.values() if said.startswith("error"))
