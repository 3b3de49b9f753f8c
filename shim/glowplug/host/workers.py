"""Processes that answer questions and may hang: each question has a deadline, at which its process is killed.

For what one tenant can make slow or endless, such as a dead file server's system calls: no owner has more than a few
of them, and a process that the kernel will not let go counts until it is gone. One that answers stays for the next.

A worker reads a request a line on standard input and writes its answers, a line each, on standard output; its first
line says that it is ready. It ends with its input, so also with the process that started it.
"""

import contextlib
import os
import select
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass

ENDS_WITHIN_S = 1.0
SPARE_AFTER_S = 0.05
"""A worker that has not answered by then may never: another one is started, and the next question finds it ready."""

_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from {module} import main; main()"
_SOURCES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class TooManyWorkers(Exception):
    """The owner, or all of them together, have as many as they may."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The lines that came in time. `status`: of a worker that ended before all had come; negative: by that signal."""

    lines: list[str]
    status: int | None = None


class Workers:
    """Thread-safe. `module`: has the workers' `main`. `most`: at a time, `most_of_one`: of one owner; both count those
    that were killed and are not gone yet. `idle`: so many are kept. `niceness`: see nice(2). `packages`: whether they
    import other than the standard library."""

    def __init__(
        self,
        module: str,
        *,
        most: int,
        most_of_one: int,
        idle: int = 1,
        niceness: int = 0,
        packages: bool = False,
    ) -> None:
        options = "-I" if packages else "-IS"
        self._command = [sys.executable, options, "-c", _PROGRAM.format(module=module), _SOURCES]
        self._most = most
        self._most_of_one = most_of_one
        self._idle_at_most = idle
        self._niceness = niceness
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._busy: dict[_Worker, str] = {}

    def ask(self, owner: str, request: str, number: int, deadline_s: float) -> Answered:
        """`number` lines, or fewer, after `deadline_s` at the latest. Raises TooManyWorkers."""
        until = time.monotonic() + deadline_s
        worker = self._take(owner)
        lines = worker.ask(request, number, min(until, time.monotonic() + SPARE_AFTER_S))
        if len(lines) < number and not worker.is_at_end:
            if worker.is_ready:
                self.start()
            lines += worker.more_lines(number - len(lines), until)
        status = worker.status() if len(lines) < number else None
        self._give_back(worker, healthy=len(lines) == number)
        return Answered(lines, status)

    def start(self) -> None:
        """Have one ready: an interpreter takes tens of milliseconds to start."""
        with self._lock:
            if not self._idle:
                self._idle.append(_Worker(self._command, self._niceness))

    def close(self) -> None:
        """End them all; none is waited for longer than it takes the kernel to end a process that can be ended."""
        with self._lock:
            workers = [*self._idle, *self._busy]
            self._idle.clear()
        for worker in workers:
            worker.end()
        for worker in workers:
            worker.wait(ENDS_WITHIN_S)

    def _take(self, owner: str) -> "_Worker":
        with self._lock:
            self._busy = {worker: of for worker, of in self._busy.items() if not worker.is_gone()}
            if len(self._busy) >= self._most or Counter(self._busy.values())[owner] >= self._most_of_one:
                raise TooManyWorkers
            worker = self._idle.pop() if self._idle else None
            if worker is None or worker.is_gone():
                worker = _Worker(self._command, self._niceness)
            self._busy[worker] = owner
            return worker

    def _give_back(self, worker: "_Worker", *, healthy: bool) -> None:
        with self._lock:
            if healthy and len(self._idle) < self._idle_at_most:
                del self._busy[worker]
                self._idle.append(worker)
                return
        worker.end()  # stays among the busy until it is gone
        if not healthy:
            self.start()


class _Worker:
    def __init__(self, command: list[str], niceness: int) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        if niceness:
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, self._process.pid, niceness)
        assert self._process.stdout is not None
        self._poll = select.poll()
        self._poll.register(self._process.stdout, select.POLLIN)
        self._read = b""
        self.is_ready = False
        self.is_at_end = False

    def is_gone(self) -> bool:
        return self._process.poll() is not None

    def wait(self, within_s: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(within_s)

    def status(self) -> int | None:
        """Of one that has ended on its own, or is about to; None: it still runs."""
        if self.is_at_end:
            self.wait(ENDS_WITHIN_S)
        return self._process.poll()

    def end(self) -> None:
        """Killed, not waited for: a system call that does not return may keep it."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()

    def ask(self, request: str, number: int, until: float) -> list[str]:
        """The answers that came until then."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request.encode() + b"\n")
        except OSError:
            self.is_at_end = True
            return []
        return self.more_lines(number, until)

    def more_lines(self, number: int, until: float) -> list[str]:
        """So many more answers, or those that came until then."""
        if not self.is_ready:
            self.is_ready = self._line(until) is not None
        found: list[str] = []
        while self.is_ready and len(found) < number and (line := self._line(until)) is not None:
            found.append(line.decode())
        return found

    def _line(self, until: float) -> bytes | None:
        assert self._process.stdout is not None
        while b"\n" not in self._read:
            if not self._poll.poll(max(0.0, until - time.monotonic()) * 1000):
                return None
            chunk = os.read(self._process.stdout.fileno(), 1 << 16)
            if not chunk:
                self.is_at_end = True
                return None
            self._read += chunk
        line, _, self._read = self._read.partition(b"\n")
        return line
