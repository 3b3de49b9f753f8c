"""Threads for what may take long or never come back, such as a question to a tenant's server or file system.

A thread that is stuck is not counted: after OVERDUE_S another one takes its place, up to `most`. So a call that hangs
holds up nobody, and a pool that is full of hanging work is no reason for the rest of the agent to wait.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from glowplug.agent.loop.heart import Heart

log = logging.getLogger("glowplug.agent")

OVERDUE_S = 0.25
IDLE_S = 10.0
WAITS_AT_MOST_S = 60.0
"""Work that is in the queue for longer says that the pool is dead."""


@dataclass(slots=True)
class _Work:
    tenant: str
    run: Callable[[], None]
    put: float = field(default_factory=time.monotonic)


class Pool:
    """Thread-safe. `at_once`: so many threads work; `most`: with those that are overdue; `per_tenant`: of one tenant
    ("" is nobody's, and has no limit). Threads are daemons: the process ends without them."""

    def __init__(self, name: str, at_once: int, most: int, per_tenant: int) -> None:
        self.heart = Heart(name, WAITS_AT_MOST_S)
        self._name = name
        self._at_once = at_once
        self._most = most
        self._per_tenant = per_tenant
        self._called = threading.Condition()
        self._queue: deque[_Work] = deque()
        self._began: dict[threading.Thread, float] = {}
        self._tenants: Counter[str] = Counter()
        self._threads = 0
        self._idle = 0

    def submit(self, tenant: str, run: Callable[[], None]) -> None:
        """Have it run as soon as there is a thread. `run` raises nothing."""
        with self._called:
            self._queue.append(_Work(tenant, run))
            self._staff()
            self._called.notify()

    def tick(self) -> None:
        """To be called several times a second: overdue threads are replaced, and the heart beats."""
        with self._called:
            self._staff()
            runnable = [work for work in self._queue if self._may_run(work)]
            if not runnable or time.monotonic() - runnable[0].put < WAITS_AT_MOST_S / 2:
                self.heart.beat()

    def _staff(self) -> None:
        runnable = sum(1 for work in self._queue if self._may_run(work))
        now = time.monotonic()
        overdue = sum(1 for began in self._began.values() if now - began > OVERDUE_S)
        free = min(self._at_once + overdue, self._most) - self._threads
        for _ in range(min(free, runnable - self._idle)):
            self._threads += 1
            threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _may_run(self, work: _Work) -> bool:
        return not work.tenant or self._tenants[work.tenant] < self._per_tenant

    def _work(self) -> None:
        me = threading.current_thread()
        while (work := self._next(me)) is not None:
            try:
                work.run()
            except Exception:
                log.exception("work of the pool %s failed", self._name)
            with self._called:
                del self._began[me]
                self._tenants[work.tenant] -= 1
                if not self._tenants[work.tenant]:
                    del self._tenants[work.tenant]
                self._called.notify()

    def _next(self, me: threading.Thread) -> _Work | None:
        """None: there was nothing to do for a while, or there are enough threads."""
        with self._called:
            self._idle += 1
            try:
                self._called.wait_for(lambda: any(map(self._may_run, self._queue)), IDLE_S)
                found = next((work for work in self._queue if self._may_run(work)), None)
                if found is None:
                    self._threads -= 1
                    return None
                self._queue.remove(found)
                self._tenants[found.tenant] += 1
                self._began[me] = time.monotonic()
                return found
            finally:
                self._idle -= 1
