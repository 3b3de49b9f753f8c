"""The processes that make captures for the agent (worker.py)."""

from typing import Any

from glowplug.agent.captures.task import UNDONE, Task
from glowplug.agent.child_tasks import ChildTasks
from glowplug.outcomes import capture_outcome


class Children:
    """Thread-safe."""

    def __init__(self) -> None:
        self._tasks = ChildTasks("glowplug.agent.captures.worker")

    def capture(self, task: Task) -> dict[str, Any] | None:
        """The result of the capture (worker.py); None where it was stopped, and is undone. Waits for it."""
        ended = self._tasks.run(task.plain())
        if ended is None or ended.status == UNDONE:
            return None
        if ended.answer is not None and ended.status == 0:
            return ended.answer
        detail = f"the process that captured ended with status {ended.status} and no answer"
        return {"result": capture_outcome.FAILED, "slug": "", "detail": detail, "reported": False}

    def stop(self) -> None:
        """Have every capture that is not done undone, and wait for it; `capture` begins none any more."""
        self._tasks.stop()
