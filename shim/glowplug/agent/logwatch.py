"""A container's log, looked through for a line that matches, as it grows.

The log has CRI's format: time, stream, F for a whole line or P for a part of one, text (Kubernetes' CRI log
format, kubelet's logs.go). The expression is the pod owner's, and some expressions take for ever: a process of
its own matches, behind all that the node has to do, and has little time.
"""

import os
import subprocess
import sys
import time
from io import FileIO

from glowplug.errors import UsageError

READ_LIMIT = 1 << 20
LINE_LIMIT = 64 << 10
MATCHED_WITHIN_S = 5.0

# It ends with the agent (PR_SET_PDEATHSIG), and by itself (RLIMIT_CPU) where the agent had ended before.
_MATCH = f"""
import ctypes, os, re, resource, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
resource.setrlimit(resource.RLIMIT_CPU, ({int(MATCHED_WITHIN_S) + 1}, {int(MATCHED_WITHIN_S) + 1}))
os.nice(19)
lines = sys.stdin.buffer.read().decode(errors="replace").split("\\n")
try:
    found = re.compile(sys.argv[1])
except Exception:
    sys.exit(4)
sys.exit(0 if any(map(found.search, lines)) else 3)
"""
_NO = 3
_NO_EXPRESSION = 4


class LogWatch:
    """What was looked through once is not looked through again; a log that was rotated begins anew, behind what was
    left of the old one."""

    def __init__(self, path: str, regex: str) -> None:
        self._path = path
        self._regex = regex
        self._file: FileIO | None = None
        self._cut = b""
        self._part = b""

    def ask(self, until: float) -> bool:
        """Whether a new line matches. Raises UsageError for an expression that takes too long."""
        while True:
            try:
                data = self._read()
            except OSError:
                return False  # not there yet
            lines = self._lines(data)
            if lines and matches(self._regex, lines):
                return True
            if len(data) < READ_LIMIT or time.monotonic() >= until:
                return False

    def _read(self) -> bytes:
        """What is new, at most READ_LIMIT bytes of it. Raises OSError."""
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

    def _lines(self, data: bytes) -> list[bytes]:
        *whole, self._cut = (self._cut + data).split(b"\n")
        self._cut = self._cut[-LINE_LIMIT:]
        return [text for line in whole if (text := self._text(line)) is not None]

    def _text(self, line: bytes) -> bytes | None:
        """The whole line that this one ends; None where it ends none."""
        words = line.split(b" ", 3)
        if len(words) < 4 or words[1] not in (b"stdout", b"stderr"):
            return None
        text = (self._part + words[3])[:LINE_LIMIT]
        self._part = text if words[2].startswith(b"P") else b""
        return None if self._part else text


def matches(regex: str, lines: list[bytes]) -> bool:
    """Whether the Python regular expression is found in one of the lines. Raises UsageError."""
    try:
        done = subprocess.run(
            [sys.executable, "-IS", "-c", _MATCH, regex],
            input=b"\n".join(lines),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=MATCHED_WITHIN_S,
        )
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"glowplug.dev/ready: wanted an expression that is looked up within {MATCHED_WITHIN_S:g} s, "
            "found one that takes longer: make it simpler"
        ) from None
    if done.returncode == _NO_EXPRESSION:
        raise UsageError("glowplug.dev/ready: what stands behind log: is no regular expression of Python's")
    if done.returncode not in (0, _NO):
        raise UsageError(
            "glowplug.dev/ready: wanted an expression that can be looked up, found one that fails"
        )
    return done.returncode == 0
