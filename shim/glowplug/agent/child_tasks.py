"""Child processes of the agent, each for one task: it gets the task as JSON, is waited for, ended with the agent."""

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

LONGEST_ANSWER = 1 << 20


class Ended(NamedTuple):
    """`status`: its exit status. `answer`: the JSON object that it wrote; None for anything else."""

    status: int
    answer: dict[str, Any] | None


class ChildTasks:
    """Processes of one module. Thread-safe."""

    def __init__(self, module: str) -> None:
        """`module`: run as `python -m`; it reads a task from its input, and writes an answer of at most 1 MiB."""
        self._module = module
        self._lock = threading.Condition()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopping = False

    def run(self, task: Mapping[str, object]) -> Ended | None:
        """Waits for a process that does it; None, and none is started, once `stop` was called."""
        with self._lock:
            if self._stopping:
                return None
            # A process group of its own: what ends the agent is not meant for the task.
            child = subprocess.Popen(
                [sys.executable, "-m", self._module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                process_group=0,
            )
            self._running.add(child)
        try:
            written, _ = child.communicate(json.dumps(task).encode())
        finally:
            with self._lock:
                self._running.discard(child)
                self._lock.notify_all()
        try:
            answer = json.loads(written[:LONGEST_ANSWER])
        except ValueError:
            answer = None
        return Ended(child.returncode, answer if isinstance(answer, dict) else None)

    def stop(self) -> None:
        """Sends SIGTERM to every process and waits for it; `run` starts none any more."""
        with self._lock:
            self._stopping = True
            for child in self._running:
                child.terminate()
            self._lock.wait_for(lambda: not self._running)
