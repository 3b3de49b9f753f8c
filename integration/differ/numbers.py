"""Numbers of processes and threads as they are in the container."""

import re
from collections.abc import Iterable

from glowplug.host import proc


class Numbers:
    """The node's number → the container's, of these processes and their threads."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._inside: dict[int, int] = {}
        for pid in pids:
            self._inside |= {task: proc.number_inside(task) for task in proc.tasks(pid)}

    def inside(self, number: int) -> int:
        """0 for one that is not of the container."""
        return self._inside.get(number, 0)

    def in_text(self, text: str) -> str:
        """A text whose numbers may be the node's, each replaced."""
        return re.sub(r"\d+", lambda found: str(self._inside.get(int(found[0]), found[0])), text)
