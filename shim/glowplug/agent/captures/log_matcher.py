"""A process of its own that looks up tenants' regular expressions in their logs: it may be killed.

RE2 needs time in proportion to the text, whatever the expression; but one may be large, and its compilation takes long.
So each request has its own limit of CPU time, at which the kernel ends the process (setitimer(2), ITIMER_PROF).

A request is a JSON object with `regex`, `lines` and `cpu_s`, an answer one with `found` and `cpu_s`, or with `error`.
"""

import json
import signal
import sys
import time
from functools import lru_cache
from typing import Any

import re2

MAX_MEM = 1 << 20
"""Of one expression, in bytes: what needs more is refused."""


def main() -> None:
    """Until the input ends."""
    _say("")  # ready
    for line in sys.stdin:
        _say(json.dumps(answer(json.loads(line))))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Whether the expression is found in one of the lines, and the CPU time that it took."""
    began = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, request["cpu_s"])
    try:
        compiled = _compiled(request["regex"])
        found = any(map(compiled.search, request["lines"]))
    except re2.error as error:
        return {"error": _text(error)}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return {"found": found, "cpu_s": time.process_time() - began}


@lru_cache(maxsize=16)
def _compiled(regex: str) -> Any:
    options = re2.Options()
    options.max_mem = MAX_MEM
    options.never_capture = True
    options.log_errors = False
    return re2.compile(regex, options)


def _text(error: Exception) -> str:
    """What is wrong with an expression, without the part of it that RE2 names behind a colon."""
    said = error.args[0] if error.args else ""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return text.partition(": ")[0]
