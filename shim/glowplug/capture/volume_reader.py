"""A process of its own that reads volumes for the agent or a capture: it may hang, and be killed.

One request a line on standard input, one answer a line on standard output, in the order of the questions, so that what
was answered before a volume that hangs is known all the same. Ends with its input.
"""

import json
import sys
import time
from typing import Any

from glowplug.capture import volume_answers
from glowplug.capture.volume_files import Unreadable
from glowplug.checkpoint.noise import SandboxFacts


def main() -> None:
    """Until the input ends."""
    _say("")  # ready
    for line in sys.stdin:
        request = json.loads(line)
        for question in request["questions"]:
            _say(json.dumps(_answered(request, *question)))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _answered(request: dict[str, Any], source: str, how: str) -> tuple[str | None, str]:
    """The answer, and why there is none."""
    until = time.monotonic() + request["within_s"]
    sandbox = SandboxFacts(**{name: _plain(value) for name, value in request["sandbox"].items()})
    try:
        return volume_answers.answer(source, how, sandbox, until, request["started_before"]), ""
    except Unreadable as error:
        return None, str(error)
    except (OSError, ValueError) as error:
        return None, getattr(error, "strerror", None) or type(error).__name__


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


if __name__ == "__main__":
    main()
