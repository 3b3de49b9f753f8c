"""What the process that restores says to the runtime, over a pipe, and how the runtime reads it.

One JSON value per line: the name of each step as it begins, and at the end an object. Whatever ended the process, the
lines that it has written say how far it came. Used by the runtime: standard library only.
"""

import os

from glowplug import jsontext


class Reporter:
    """The writing end."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def step(self, name: str) -> None:
        """Report that this step begins."""
        self._say(name)

    def end(self, result: "Result") -> None:
        """Report the result."""
        self._say({"phases": result.phases, "memory_bytes": result.memory_bytes, "detail": result.detail})

    def _say(self, value: object) -> None:
        try:
            os.write(self._fd, jsontext.dumps(value).encode() + b"\n")
        except OSError:  # nobody listens: then nobody acts on it either
            return


class Result:
    """`step`: the last one that was begun. `ended`: whether the process came to an end of its own. `phases`: seconds of
    each step. `detail`: of a failure, "" where there was none."""

    __slots__ = ("detail", "ended", "memory_bytes", "phases", "step")

    def __init__(self) -> None:
        self.step = ""
        self.ended = False
        self.phases: dict[str, float] = {}
        self.memory_bytes = 0
        self.detail = ""


def read(text: bytes) -> Result:
    """What was said; a line that was cut off is none."""
    result = Result()
    for line in text.split(b"\n")[:-1]:
        try:
            said = jsontext.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(said, str):
            result.step = said
        elif isinstance(said, dict):
            result.ended = True
            phases = said.get("phases")
            result.phases = phases if isinstance(phases, dict) else {}
            result.memory_bytes = int(str(said.get("memory_bytes") or 0))
            result.detail = str(said.get("detail") or "")
    return result
