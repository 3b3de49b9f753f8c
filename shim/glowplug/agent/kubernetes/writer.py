"""Writes to the API server, one after another in a thread of their own: nothing of ours ever waits for them.

What can't be written now is tried again; what is too much is dropped and counted, the least needed first.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from glowplug.apiserver.client import Busy, Unreachable
from glowplug.errors import KubernetesError

log = logging.getLogger("glowplug.agent")

LONGEST = 500
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0

TRIES = 20
"""Of one write that the server answers and does not take, a quarter of an hour in all: what fails for one object
alone, such as a webhook of its namespace, must not delay the others forever."""

ROUND_RESTS_S = 5.0
"""However much is written meanwhile."""

Count = Callable[[str], None]
"""Gets each write: written, failed or dropped."""


@dataclass(frozen=True, slots=True)
class Write:
    """`needed`: a pod waits for it, so it is the last to be dropped. `run` raises KubernetesError. `tries`: answered
    and not taken so often."""

    what: str
    run: Callable[[], None]
    needed: bool = False
    tries: int = 0


@dataclass(slots=True)
class _Round:
    """`rests_until`: in time.monotonic() seconds; `is_refused`: it was the last time, and trying at once is no use."""

    work: Callable[[], None]
    rests_until: float = 0.0
    is_refused: bool = False


class Writer(threading.Thread):
    """`rounds`: called one after another before what is in the queue, at least every `every_s`; the next ones not
    where one raises Unreachable. One that is refused rests as long. All raise KubernetesError.
    """

    def __init__(self, count: Count, rounds: Sequence[Callable[[], None]], every_s: float) -> None:
        super().__init__(name="kubernetes", daemon=True)
        self._count = count
        self._rounds = [_Round(work) for work in rounds]
        self._every_s = every_s
        self._changed = threading.Condition()
        self._queue: deque[Write] = deque()
        self._stopping = False
        self._hurried = False
        self._wait_s = FIRST_WAIT_S
        self._said: set[str] = set()
        self._is_failing = False

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

    def hurry(self) -> None:
        """The rounds are due now, except those that were refused."""
        with self._changed:
            for one in self._rounds:
                one.rests_until = one.rests_until if one.is_refused else 0.0
            self._hurried = True
            self._changed.notify()

    def run(self) -> None:
        """Until `stop`."""
        while not self._stopping:
            self._hurried = False
            self._is_failing = False
            if all(map(self._went, self._rounds)) and self._tried(self._write_all) != "again":
                self._wait_s = FIRST_WAIT_S
                if not self._is_failing:
                    self._said.clear()
                with self._changed:
                    self._changed.wait_for(
                        lambda: self._queue or self._stopping or self._hurried, self._every_s
                    )
            else:
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping, self._wait_s)
                self._wait_s = min(self._wait_s * 2, LONGEST_WAIT_S)

    def stop(self, within_s: float) -> None:
        """What is not written by then is dropped: outcomes are in the history, and gates are looked up there."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self.join(within_s)
        for _ in self._queue:
            self._count("dropped")

    def _went(self, round: "_Round") -> bool:
        """One round, where it does not rest. False where it is to be tried again."""
        if time.monotonic() < round.rests_until:
            self._is_failing |= round.is_refused
            return True
        found = self._tried(round.work)
        if found == "again":
            return False
        round.is_refused = found == "refused"
        rest_s = self._every_s if round.is_refused else min(ROUND_RESTS_S, self._every_s)
        round.rests_until = time.monotonic() + rest_s
        return True

    def _tried(self, work: Callable[[], None]) -> Literal["done", "refused", "again"]:
        try:
            work()
        except Unreachable as error:
            self._report(str(error))
            return "again"
        except KubernetesError as error:
            self._report(str(error))
            return "refused"
        return "done"

    def _write_all(self) -> None:
        while self._queue and not self._stopping:
            with self._changed:
                write = self._queue.popleft()
            try:
                write.run()
            except Busy as error:
                if write.tries + 1 < TRIES:
                    self._put_back(replace(write, tries=write.tries + 1))
                else:
                    self._failed(write, error)
                raise
            except Unreachable:
                self._put_back(write)
                raise
            except KubernetesError as error:
                self._failed(write, error)
            else:
                self._count("written")

    def _put_back(self, write: Write) -> None:
        """Behind the others: what it meets may be its own fault."""
        with self._changed:
            self._queue.append(write)

    def _failed(self, write: Write, error: KubernetesError) -> None:
        self._count("failed")
        log.info("%s is not written: %s", write.what, error)

    def _drop_one(self) -> None:
        """The oldest one that nobody waits for, else the oldest."""
        for index, write in enumerate(self._queue):
            if not write.needed:
                del self._queue[index]
                return
        self._queue.popleft()

    def _report(self, errors: str) -> None:
        """The same error once, until all goes well."""
        self._is_failing = True
        if errors not in self._said:
            log.warning("%s", errors)
            self._said.add(errors)
