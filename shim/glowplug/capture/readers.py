"""Volumes read within a deadline, by processes that can be killed: none of one tenant's holds up another's start.

A volume may be on a file server that is dead, whose system calls do not return; so each container's questions go to a
process of its own (`volume_reader`), and what is not answered by the deadline is unknown (host/workers.py).
"""

import atexit
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from glowplug.checkpoint.noise import SandboxFacts
from glowplug.host.workers import TooManyWorkers, Workers

READER = "glowplug.capture.volume_reader"
MOST = 16
MOST_OF_ONE = 4

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
        self._workers = Workers(READER, most=MOST, most_of_one=MOST_OF_ONE)

    def ask(
        self,
        owner: str,
        questions: Sequence[tuple[str, str]],
        sandbox: SandboxFacts,
        started_before: float | None,
        deadline_s: float,
    ) -> list[Answer]:
        """One answer for each (source, how), after `deadline_s` at the latest. `owner`: whose volumes they are."""
        request = {
            "questions": questions,
            "sandbox": asdict(sandbox),
            "started_before": started_before,
            "within_s": deadline_s,
        }
        try:
            answered = self._workers.ask(owner, json.dumps(request), len(questions), deadline_s)
        except TooManyWorkers:
            return [Answer(None, TOO_MANY)] * len(questions)
        found = [Answer(*json.loads(line)) for line in answered.lines]
        return found + [Answer(None, TOO_LATE)] * (len(questions) - len(found))

    def start(self) -> None:
        """Have one ready: an interpreter takes tens of milliseconds to start."""
        self._workers.start()

    def close(self) -> None:
        """End them all."""
        self._workers.close()


READERS = Readers()
atexit.register(READERS.close)
