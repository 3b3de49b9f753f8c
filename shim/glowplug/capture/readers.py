"""Volumes read within a deadline, by processes that can be killed: none of one tenant's holds up another's start.

A volume may be on a file server that is dead, whose system calls do not return; so each container's questions go to a
process that has nobody else's (`volume_reader`). One that answers stays for the next container; one that does not is
killed at the deadline. A process that the kernel will not let go even so counts until it is gone, and no owner may have
more than a few: then its volumes are unknown at once, and nobody else's.
"""

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from glowplug.checkpoint.noise import SandboxFacts

MOST = 16
MOST_OF_ONE = 4
IDLE = 1
ENDS_WITHIN_S = 1.0
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from glowplug.capture.volume_reader import main; main()"
)
_SOURCES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

TOO_MANY = "too many volumes are being read"
TOO_LATE = "not read in time"


@dataclass(frozen=True, slots=True)
class Answer:
    """`why`: in a phrase, where the text is None."""

    text: str | None
    why: str = ""


class Readers:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Reader] = []
        self._busy: dict[_Reader, str] = {}  # also those that were killed and are not gone yet

    def ask(
        self,
        owner: str,
        questions: Sequence[tuple[str, str]],
        sandbox: SandboxFacts,
        started_before: float | None,
        deadline_s: float,
    ) -> list[Answer]:
        """One answer for each (source, how), after `deadline_s` at the latest. `owner`: whose volumes they are."""
        until = time.monotonic() + deadline_s
        reader = self._take(owner)
        if reader is None:
            return [Answer(None, TOO_MANY)] * len(questions)
        request = {
            "questions": questions,
            "sandbox": asdict(sandbox),
            "started_before": started_before,
            "within_s": deadline_s,
        }
        answers = reader.ask(json.dumps(request), len(questions), until)
        self._give_back(reader, healthy=len(answers) == len(questions))
        return answers + [Answer(None, TOO_LATE)] * (len(questions) - len(answers))

    def warm(self) -> None:
        """Have one ready: an interpreter takes tens of milliseconds to start."""
        with self._lock:
            if not self._idle:
                self._idle.append(_Reader())

    def close(self) -> None:
        """End them all; none is waited for longer than it takes the kernel to end a process that can be ended."""
        with self._lock:
            readers = [*self._idle, *self._busy]
            self._idle.clear()
        for reader in readers:
            reader.end()
        for reader in readers:
            reader.wait(ENDS_WITHIN_S)

    def _take(self, owner: str) -> "_Reader | None":
        with self._lock:
            self._busy = {reader: of for reader, of in self._busy.items() if not reader.is_gone()}
            if len(self._busy) >= MOST or Counter(self._busy.values())[owner] >= MOST_OF_ONE:
                return None
            reader = self._idle.pop() if self._idle else None
            if reader is None or reader.is_gone():
                reader = _Reader()
            self._busy[reader] = owner
            return reader

    def _give_back(self, reader: "_Reader", *, healthy: bool) -> None:
        with self._lock:
            if healthy and len(self._idle) < IDLE:
                del self._busy[reader]
                self._idle.append(reader)
                return
        reader.end()  # stays among the busy until it is gone


class _Reader:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-IS", "-c", _PROGRAM, _SOURCES],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self._process.stdout is not None
        self._poll = select.poll()
        self._poll.register(self._process.stdout, select.POLLIN)
        self._read = b""
        self._is_ready = False

    def is_gone(self) -> bool:
        return self._process.poll() is not None

    def wait(self, within_s: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(within_s)

    def end(self) -> None:
        """Killed, not waited for: a system call that does not return may hold it."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()

    def ask(self, request: str, number: int, until: float) -> list[Answer]:
        """The answers that came until then."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request.encode() + b"\n")
        except OSError:
            return []
        if not self._is_ready:
            self._is_ready = self._line(until) is not None
        found: list[Answer] = []
        while len(found) < number and (line := self._line(until)) is not None:
            found.append(Answer(*json.loads(line)))
        return found

    def _line(self, until: float) -> bytes | None:
        assert self._process.stdout is not None
        while b"\n" not in self._read:
            ready = self._poll.poll(max(0.0, until - time.monotonic()) * 1000)
            chunk = os.read(self._process.stdout.fileno(), 1 << 16) if ready else b""
            if not chunk:
                return None
            self._read += chunk
        line, _, self._read = self._read.partition(b"\n")
        return line


READERS = Readers()
atexit.register(READERS.close)
