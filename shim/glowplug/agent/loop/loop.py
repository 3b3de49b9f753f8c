"""The agent's one loop over the table of containers. Level-triggered: what a row needs follows from its state.

Every row has a time at which it is looked at next. Events of containerd, a finished step and a finished capture only
make it sooner; a list of what runs, every LIST_EVERY_S, makes the table right whatever was missed. The loop's thread
waits for nobody: each step runs in a pool, at most one of a container at a time.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from functools import partial

from glowplug.agent.captures import journal
from glowplug.agent.loop import captures, keeping, look, wake
from glowplug.agent.loop.events import CREATE, DELETE, EXIT, START
from glowplug.agent.loop.heart import Heart
from glowplug.agent.loop.parts import Parts
from glowplug.agent.loop.pool import Pool
from glowplug.agent.loop.row import NEVER, Next, Row, State
from glowplug.agent.serving import prepare
from glowplug.capture import judged
from glowplug.containerd.events import Event
from glowplug.containerd.rpc import NotFound
from glowplug.errors import ContainerdError, GlowplugError

log = logging.getLogger("glowplug.agent")

Step = Callable[[Parts, Row], Next]

STEPS: dict[State, Step] = {
    State.NEW: look.look,
    State.CREATED: look.consider,
    State.WAITING: captures.ask,
    State.CAPTURING: captures.capture,
    State.KEEPING: keeping.keep,
    State.WAKING: wake.wake,
}

LIST_EVERY_S = 30.0
LIST_AGAIN_S = 1.0
LONGEST_SLEEP_S = 0.1
"""Pools are ticked and due rows looked for so often at least."""

TURN_EVERY_S = 0.2
"""How often a ready container looks whether it is its turn to be captured."""

ERROR_AGAIN_S = 1.0
ERROR_AGAIN_AT_MOST_S = 30.0

CREATED_KEPT_S = 600.0
RECORDS = 64
"""Containers between their making and their start whose record is kept; others are requested again."""

OWN_AT_ONCE = 8
"""Captures that wait for their own workload, besides those that others have to wait for."""
LOOKS_WITHIN_S = 0.5
"""A capture is usually past its first steps by then."""

CAPTURES_OF_A_TENANT = 2


class Loop(threading.Thread):
    """`poke`: called when something was put into the spool. `note` may be called from any thread."""

    def __init__(self, parts: Parts, poke: Callable[[], None]) -> None:
        super().__init__(name="loop", daemon=True)
        self._parts = parts
        self._poke = poke
        self._rows: dict[str, Row] = {}
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stopping = False
        self._list_due = 0.0
        self._listing = False
        self._list_error = ""
        self._quick = Pool("steps", at_once=4, most=64, per_tenant=16)
        self._slow = Pool("slow steps", at_once=32, most=64, per_tenant=8)
        self._waking = Pool("wakings", at_once=64, most=96, per_tenant=16)
        self._capturing = Pool("captures", at_once=64, most=64, per_tenant=64)
        self._pools = (self._quick, self._slow, self._waking, self._capturing)
        self._heart = Heart("loop", 20.0)

    @property
    def hearts(self) -> list[Heart]:
        """Of the loop and of its pools."""
        return [self._heart, *(pool.heart for pool in self._pools)]

    def note(self, event: Event) -> None:
        """An event of containerd."""
        self._inbox.put(partial(self._on_event, event))

    def look_at_all(self) -> None:
        """Something may have been missed."""
        self._inbox.put(self._list_soon)

    def close(self) -> None:
        """No step is begun any more. A capture under way is undone, and waited for; a waking is the next agent's."""
        self._inbox.put(self._stop)
        self.join()
        self._parts.children.stop()

    def run(self) -> None:
        """Until `close`."""
        while not self._stopping:
            self._heart.beat()
            for pool in self._pools:
                pool.tick()
            now = time.monotonic()
            if now >= self._list_due and not self._listing:
                self._listing = True
                self._quick.submit("", self._list)
            nearest = self._begin_due(now)
            self._take_in(max(0.0, min(LONGEST_SLEEP_S, nearest - now)))

    # -- the loop's own thread --

    def _take_in(self, wait_s: float) -> None:
        """All that is in the inbox; wait for the first of it."""
        try:
            self._call(self._inbox.get(timeout=wait_s) if wait_s else self._inbox.get_nowait())
            while True:
                self._call(self._inbox.get_nowait())
        except queue.Empty:
            return

    def _call(self, message: Callable[[], None]) -> None:
        try:
            message()
        except Exception:
            log.exception("the loop could not handle the new events")

    def _stop(self) -> None:
        self._stopping = True

    def _list_soon(self) -> None:
        self._list_due = 0.0

    def _begin_due(self, now: float) -> float:
        """Begin the steps that are due; when the next one is."""
        nearest = NEVER
        for row in list(self._rows.values()):
            if row.busy:
                continue
            if row.due <= now:
                self._begin(row, now)
            if not row.busy:
                nearest = min(nearest, row.due)
        return nearest

    def _begin(self, row: Row, now: float) -> None:
        if row.state is State.READY:
            if not self._is_its_turn(row):
                row.due = now + TURN_EVERY_S
                return
            row.state, row.seen = State.CAPTURING, now
        step = STEPS.get(row.state)
        if step is None:
            row.due = NEVER
            return
        row.busy, row.again = True, False
        self._pool_of(row).submit(row.tenant, partial(self._run, row, step))

    def _pool_of(self, row: Row) -> Pool:
        if row.state is State.CAPTURING:
            return self._capturing
        if row.state is State.WAKING:
            return self._waking
        return self._slow if row.slow or row.state is State.KEEPING else self._quick

    def _is_its_turn(self, row: Row) -> bool:
        """One of a workload at a time; as many that pause a container as there are slots. Those that wait for their own
        workload, in a hook or with what it has mounted, do not count."""
        others = [one for one in self._rows.values() if one.state is State.CAPTURING]
        if any(one.queue == row.queue for one in others):
            return False
        if sum(one.tenant == row.tenant for one in others) >= max(
            CAPTURES_OF_A_TENANT, self._parts.config.max_concurrent_captures
        ):
            return False
        own = sum(_waits_for_its_own(one) for one in others)
        return len(others) - own < self._parts.config.max_concurrent_captures and own < OWN_AT_ONCE

    def _done(self, row: Row, step: Step, result: Next | Exception) -> None:
        """A step has ended. A capture's end is the chance of its queue."""
        row.busy = False
        if row.id not in self._rows:
            self._drop(row)  # it ended while the step ran
            return
        now = time.monotonic()
        queue = row.queue if row.state is State.CAPTURING else None
        if isinstance(result, Exception):
            row.failures += 1
            if row.state is State.CAPTURING:
                row.state = State.READY
            row.due = now + min(ERROR_AGAIN_AT_MOST_S, ERROR_AGAIN_S * 2 ** min(row.failures - 1, 8))
            if row.failures == 1 or not look.harmless(result):
                log.warning(
                    "container %s: the step %s failed, and is tried again: %s",
                    row.id,
                    step.__name__,
                    result,
                    exc_info=None if look.harmless(result) else result,
                )
        else:
            row.failures = 0
            row.state = result.state
            row.due = 0.0 if row.again else now + result.after_s
            if result.gone:
                self._drop(row)
            elif row.state in (State.FINISHED, State.FOREIGN):
                row.case, row.record, row.due = None, None, NEVER
        if queue is not None:
            for other in self._rows.values():
                if other is not row and other.queue == queue and other.state in (State.WAITING, State.READY):
                    self._sooner(other)
        self._poke()

    def _on_event(self, event: Event) -> None:
        row = self._rows.get(event.container_id)
        if event.topic == CREATE:
            if row is None:
                row = self._rows[event.container_id] = Row(event.container_id, made=True)
                if event.is_ours is False:
                    row.state, row.due = State.FOREIGN, NEVER
                self._keep_few_records()
        elif event.topic == START:
            row = row or self._rows.setdefault(event.container_id, Row(event.container_id))
            if row.state is not State.FOREIGN:
                row.started, row.seen = event.at, time.monotonic()
                # What was prepared and not used by now, or comes too late, never will be.
                prepare.forget(event.container_id)
                self._sooner(row)
            self._poke()
        elif event.topic == EXIT and not event.exec_id:
            if row is not None and row.state is not State.FOREIGN:
                row.exited = True
                self._sooner(row)
                self._poke()
        elif event.topic == DELETE and row is not None:
            self._drop(row)

    def _sooner(self, row: Row) -> None:
        row.due, row.again = 0.0, True

    def _keep_few_records(self) -> None:
        kept = [row for row in self._rows.values() if row.record is not None and not row.busy]
        for row in kept[: max(0, len(kept) - RECORDS)]:
            row.record = None

    def _drop(self, row: Row) -> None:
        if self._rows.get(row.id) is row:
            del self._rows[row.id]
        prepare.forget(row.id)
        judged.forget(row.id)

    def _listed(self, running: dict[str, str] | ContainerdError) -> None:
        """What runs, by id with its status: the table is made right."""
        self._listing = False
        now = time.monotonic()
        if isinstance(running, ContainerdError):
            self._list_due = now + LIST_AGAIN_S
            if str(running) != self._list_error:
                log.warning("%s", running)
            self._list_error = str(running)
            return
        self._list_error = ""
        self._list_due = now + LIST_EVERY_S
        for container, status in running.items():
            row = self._rows.get(container)
            if row is None:
                self._rows[container] = Row(container)
            elif row.state is State.CREATED and row.due == NEVER and status != "created":
                self._sooner(row)
        for row in list(self._rows.values()):
            kept_s = CREATED_KEPT_S if row.state in (State.NEW, State.CREATED) else LIST_EVERY_S
            if row.id not in running and not row.busy and now - row.seen > kept_s:
                self._drop(row)
        self._quick.submit("", partial(_forget_judgements, self._parts, set(self._rows)))

    # -- in a pool's thread --

    def _run(self, row: Row, step: Step) -> None:
        result: Next | Exception
        try:
            result = step(self._parts, row)
        except Exception as error:  # noqa: BLE001 - one container's fault affects no other
            result = error
        self._inbox.put(partial(self._done, row, step, result))

    def _list(self) -> None:
        result: dict[str, str] | ContainerdError
        try:
            result = {task.id: task.status for task in self._parts.containerd.tasks()}
        except ContainerdError as error:
            result = error
        except Exception as error:  # noqa: BLE001 - the loop has to hear of it
            result = ContainerdError(f"the list of containers failed: {error}")
        self._inbox.put(partial(self._listed, result))


def _waits_for_its_own(row: Row) -> bool:
    step = journal.step_of(row.id)
    looking = step in journal.LOOKING and time.monotonic() - row.seen > LOOKS_WITHIN_S
    return looking or step in journal.HOOKS


def _forget_judgements(parts: Parts, known: set[str]) -> None:
    """Of containers that went while no agent ran."""
    for container in judged.all_kept():
        if container in known:
            continue
        try:
            parts.containerd.container(container)
        except NotFound:
            judged.forget(container)
        except GlowplugError:
            return
