"""Writes to the API server, one after another in a thread of their own: nothing of ours ever waits for them.

What can't be written now is tried again; what is too much is dropped and counted, the least needed first.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from glowplug.agent.cluster_api import Unreachable
from glowplug.errors import KubernetesError

log = logging.getLogger("glowplug.agent")

LONGEST = 500
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0

Count = Callable[[str], None]
"""Is told of each write: written, failed or dropped."""


@dataclass(frozen=True, slots=True)
class Write:
    """`needed`: a pod waits for it, so it is the last to be dropped. `run` raises KubernetesError."""

    what: str
    run: Callable[[], None]
    needed: bool = False


class Writer(threading.Thread):
    """`rounds`: called one after another whenever the queue is looked at, at least every `every_s`; the next ones
    not where one raises Unreachable. `end`: called at the end. All raise KubernetesError.
    """

    def __init__(
        self, count: Count, rounds: Sequence[Callable[[], None]], end: Callable[[], None], every_s: float
    ) -> None:
        super().__init__(name="kubernetes", daemon=True)
        self._count = count
        self._rounds = rounds
        self._end = end
        self._every_s = every_s
        self._changed = threading.Condition()
        self._queue: deque[Write] = deque()
        self._stopping = False
        self._wait_s = FIRST_WAIT_S
        self._said: set[str] = set()
        self._troubled = False

    def put(self, write: Write) -> None:
        """Returns at once."""
        with self._changed:
            self._queue.append(write)
            too_many = len(self._queue) > LONGEST
            if too_many:
                self._drop_one()
            self._changed.notify()
        if too_many:
            self._count("dropped")

    def run(self) -> None:
        """Until `stop`."""
        while not self._stopping:
            self._troubled = False
            if all(self._tried(work) for work in (*self._rounds, self._write_all)):
                self._wait_s = FIRST_WAIT_S
                if not self._troubled:
                    self._said.clear()
                with self._changed:
                    self._changed.wait_for(lambda: self._queue or self._stopping, self._every_s)
            else:
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping, self._wait_s)
                self._wait_s = min(self._wait_s * 2, LONGEST_WAIT_S)
        self._tried(self._end)

    def stop(self, within_s: float) -> None:
        """What is not written by then is dropped: outcomes are in the history, and gates are looked up there."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self.join(within_s)
        for _ in self._queue:
            self._count("dropped")

    def _tried(self, work: Callable[[], None]) -> bool:
        """False where it is to be tried again."""
        try:
            work()
        except Unreachable as error:
            self._tell(str(error))
            return False
        except KubernetesError as error:
            self._tell(str(error))
        return True

    def _write_all(self) -> None:
        while self._queue and not self._stopping:
            with self._changed:
                write = self._queue.popleft()
            try:
                write.run()
            except Unreachable:
                with self._changed:
                    self._queue.appendleft(write)
                raise
            except KubernetesError as error:
                self._count("failed")
                log.info("%s is not written: %s", write.what, error)
            else:
                self._count("written")

    def _drop_one(self) -> None:
        """The oldest one that nobody waits for, else the oldest."""
        for index, write in enumerate(self._queue):
            if not write.needed:
                del self._queue[index]
                return
        self._queue.popleft()

    def _tell(self, trouble: str) -> None:
        """The same trouble once, until all goes well."""
        self._troubled = True
        if trouble not in self._said:
            log.warning("%s", trouble)
            self._said.add(trouble)
