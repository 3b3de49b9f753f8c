"""The processes that make captures for the agent (worker.py): started, waited for, asked to stop."""

import json
import subprocess
import sys
import threading
from typing import Any

from glowplug.agent.captures.task import UNDONE, Task
from glowplug.outcomes import capture_outcome

LONGEST_ANSWER = 1 << 20


class Children:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopping = False

    def capture(self, task: Task) -> dict[str, Any] | None:
        """What came of it (worker.py); None where it was asked to stop and is undone. Waits for it."""
        with self._lock:
            if self._stopping:
                return None
            # A session of its own: what ends the agent is not meant for the capture.
            child = subprocess.Popen(
                [sys.executable, "-m", "glowplug.agent.captures.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            self._running.add(child)
        try:
            written, _ = child.communicate(json.dumps(task.plain()).encode())
        finally:
            with self._lock:
                self._running.discard(child)
                self._lock.notify_all()
        if child.returncode == UNDONE:
            return None
        try:
            answer = json.loads(written[:LONGEST_ANSWER])
        except ValueError:
            answer = None
        if isinstance(answer, dict) and child.returncode == 0:
            return answer
        detail = f"the process that captured ended with status {child.returncode} and no answer"
        return {"result": capture_outcome.FAILED, "slug": "", "detail": detail, "reported": False}

    def stop(self) -> None:
        """Have every capture that is not done undone, and wait for it; `capture` begins none any more."""
        with self._lock:
            self._stopping = True
            for child in self._running:
                child.terminate()
            self._lock.wait_for(lambda: not self._running)
