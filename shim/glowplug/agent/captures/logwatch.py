"""A container's log, looked through for a line that matches, as it grows.

The log has CRI's format: time, stream, F for a complete line or P for a part of one, text (Kubernetes' CRI log
format, kubelet's logs.go). The expression is the pod owner's: RE2 looks it up, in a process that can be killed, and no
container's takes more than a second of CPU time in all (`log_matcher`).
"""

import atexit
import json
import os
import signal
import time
from io import FileIO

from glowplug.errors import UsageError
from glowplug.host.workers import TooManyWorkers, Workers

READ_LIMIT = 256 << 10
LINE_LIMIT = 64 << 10
CPU_S = 0.25
"""For one look at a log."""
CPU_IN_ALL_S = 1.0
"""For all looks at one container's."""
MATCHED_WITHIN_S = 5.0

MATCHERS = Workers("glowplug.agent.captures.log_matcher", most=4, most_of_one=2, niceness=10, packages=True)
atexit.register(MATCHERS.close)

_TOO_LONG = "glowplug.dev/ready: its expression takes too long to look up: make it simpler"


class LogWatch:
    """What was looked through once is not looked through again; a log that was rotated begins again, behind what was
    left of the old one."""

    def __init__(self, path: str, regex: str, owner: str = "") -> None:
        self._path = path
        self._regex = regex
        self._owner = owner
        self._cpu_s = 0.0
        self._waiting: list[str] = []
        self._file: FileIO | None = None
        self._cut = b""
        self._part = b""

    def ask(self, until: float) -> bool:
        """Whether a new line matches. Raises UsageError for an expression that can't be looked up."""
        while True:
            try:
                data = self._read()
            except OSError:
                return False  # not there yet
            self._waiting += self._lines(data)
            if self._waiting and self._found(until):
                return True
            if self._waiting or len(data) < READ_LIMIT or time.monotonic() >= until:
                return False

    def _found(self, until: float) -> bool:
        """Whether one of the lines that wait matches; where nobody could say in time, they continue waiting."""
        request = {"regex": self._regex, "lines": self._waiting, "cpu_s": CPU_S}
        within_s = min(MATCHED_WITHIN_S, max(0.0, until - time.monotonic()))
        try:
            answered = MATCHERS.ask(self._owner, json.dumps(request), 1, within_s)
        except TooManyWorkers:
            return False
        if answered.status == -signal.SIGPROF:
            raise UsageError(_TOO_LONG)
        if not answered.lines:
            return False
        answer = json.loads(answered.lines[0])
        if "error" in answer:
            raise UsageError(
                f"glowplug.dev/ready: log: is followed by no expression of RE2's: {answer['error']}"
            )
        self._waiting = []
        self._cpu_s += answer["cpu_s"]
        if not answer["found"] and self._cpu_s > CPU_IN_ALL_S:
            raise UsageError(_TOO_LONG)
        return bool(answer["found"])

    def _read(self) -> bytes:
        """What is new, at most READ_LIMIT bytes of it; nothing while lines wait. Raises OSError."""
        if self._waiting:
            return b""
        if self._file is not None and (data := self._file.read(READ_LIMIT)):
            return data
        now = os.stat(self._path)
        if self._file is not None:
            status = os.fstat(self._file.fileno())
            if os.path.samestat(status, now) and now.st_size >= self._file.tell():
                return b""
            self._file.close()
        self._file, self._cut, self._part = FileIO(self._path), b"", b""
        return self._file.read(READ_LIMIT)

    def _lines(self, data: bytes) -> list[str]:
        *lines, self._cut = (self._cut + data).split(b"\n")
        self._cut = self._cut[-LINE_LIMIT:]
        texts = (self._text(line) for line in lines)
        return [text.decode(errors="replace") for text in texts if text is not None]

    def _text(self, line: bytes) -> bytes | None:
        """The complete line that this one ends; None where it ends none."""
        words = line.split(b" ", 3)
        if len(words) < 4 or words[1] not in (b"stdout", b"stderr"):
            return None
        text = (self._part + words[3])[:LINE_LIMIT]
        self._part = text if words[2].startswith(b"P") else b""
        return None if self._part else text
