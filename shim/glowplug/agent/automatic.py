"""Captures by the agent itself: of every workload that its pod wants captured, once, when it is ready.

Containers of one workload key stand in one line: the first that becomes ready is captured, the others need no
capture then. What is decided here is told through the history (capture_told.py), for the log, the metrics and a
pod's readiness gate alike.
"""

import logging
import sys
import threading
import time
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor

from glowplug.agent import candidate as candidates
from glowplug.agent import capture_journal, capture_told, capture_undo, held, turn
from glowplug.agent import policy as policies
from glowplug.agent.after_restore import AfterRestore
from glowplug.agent.candidate import Candidate
from glowplug.agent.capture_child import Children
from glowplug.agent.judge import Judge
from glowplug.agent.newcomers import Newcomers
from glowplug.agent.policy import When, is_chosen
from glowplug.agent.running import Running, look_up
from glowplug.agent.turn import Line, Waiting
from glowplug.cache.store import Store
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.containerd.cri import Cri
from glowplug.containerd.events import Event
from glowplug.containerd.records import KIND_LABEL
from glowplug.errors import CaptureRefused, ContainerdError, GlowplugError
from glowplug.host import ending
from glowplug.registry import fleet

log = logging.getLogger("glowplug.agent")

UNDO_EVERY_S = 2.0
SLOT_EVERY_S = 0.5
CONTAINERD_BACK_S = 1.0
LOOKS = 10
"""A busy containerd may answer the next time."""
KNOWN = 10_000
TRIES = 2
"""So many captures of one workload may come to nothing; then it is left alone until the agent starts anew."""

UNWANTED = ("never", "off")
"""Reasons of who wants no capture: nothing failed, and nothing is to be mended."""


class Automatic:
    """Thread-safe; its work is done in threads of its own."""

    def __init__(
        self, config: Config, containerd: Containerd, newcomers: Newcomers, store: Store, judge: Judge
    ) -> None:
        self._config = config
        self._containerd = containerd
        self._newcomers = newcomers
        self._store = store
        self._judge = judge
        self._cri = Cri(config.containerd_socket)
        self._after_restore = AfterRestore(containerd, self._cri)
        self._salt = fleet.salt(config.registry, store)
        self._children = Children()
        self._slots = threading.BoundedSemaphore(config.captures_at_once)
        self._looking = ThreadPoolExecutor(max_workers=1, thread_name_prefix="look")
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._known: dict[str, None] = {}
        self._vain: Counter[Line] = Counter()
        self._lines: dict[Line, deque[Waiting]] = {}
        self._threads: set[threading.Thread] = set()
        self._undoing = threading.Thread(target=self._undo_killed, name="undo", daemon=True)

    def start(self) -> None:
        """From now on what killed captures left is seen to."""
        self._undoing.start()

    def started(self, event: Event) -> None:
        """/tasks/start."""
        if self._newcomers.is_foreign(event.container_id):
            return
        self._submit(event.container_id, event.at)

    def catch_up(self) -> None:
        """Look at every container: nobody told of those that were started while there was no subscription."""
        self._looking.submit(self._look_at_all).add_done_callback(_log_failure)

    def close(self) -> None:
        """A capture under way is undone, and waited for."""
        self._stopping.set()
        self._looking.shutdown(cancel_futures=True)
        self._children.stop()
        for thread in [*self._threads, self._undoing]:
            thread.join()
        self._after_restore.close()
        self._cri.close()

    def _submit(self, container: str, started_at: float | None) -> None:
        if not self._stopping.is_set():
            self._looking.submit(self._look, container, started_at).add_done_callback(_log_failure)

    def _look_at_all(self) -> None:
        for record in self._containerd.containers({KIND_LABEL: "container"}):
            self._submit(record.id, None)

    def _look(self, container: str, started_at: float | None) -> None:
        """Once for each; one that does not run yet is looked at when it does. Raises ContainerdError."""
        if container in self._known:  # which is this one thread's
            return
        tries = LOOKS
        while True:
            tries -= 1
            try:
                candidate = self._wanted(container, started_at)
                if candidate is not None:
                    self._consider(candidate)
                    self._known[container] = None
                    if len(self._known) > KNOWN:
                        del self._known[next(iter(self._known))]
                return
            except ContainerdError:
                if tries == 0 or self._stopping.wait(CONTAINERD_BACK_S):
                    raise

    def _wanted(self, container: str, started_at: float | None) -> Candidate | None:
        """None for one that is nothing to us, or does not run."""
        candidate = candidates.look(self._newcomers, self._config, container, started_at)
        if candidate is None:
            return None
        if not candidate.restored and not is_chosen(candidate.facts, self._config.capture_containers):
            return None
        return candidate if look_up(self._containerd, candidate.record, candidate.facts) else None

    def _consider(self, candidate: Candidate) -> None:
        try:
            policy = candidates.asked(candidate, self._config)
        except CaptureRefused as refused:
            self._refused(candidate, refused)
            if self._config.mode == "on":
                wanted = policies.wanted(candidate.facts, policies.when(self._config.capture))
                self._end_if_wanted(candidate, wanted, captured=candidate.restored)
            return
        if candidate.restored:
            self._after_restore.begin(candidate, policy)
            self._end_if_wanted(candidate, policy.when)
            return
        try:
            candidates.require_wanted(candidate, policy, self._config)
            found = candidates.identify(self._containerd, candidate, self._salt)
            if self._config.mode == "observe":
                raise CaptureRefused(
                    "observed", "would be captured once it is ready; the node only observes (mode)"
                )
        except CaptureRefused as refused:
            self._refused(candidate, refused)
            if self._config.mode == "on":
                self._end_if_wanted(candidate, policy.when, captured=False)
            return
        until = time.monotonic() + self._config.ready_deadline_s
        self._stand_in_line(Waiting(candidate, policy, found, until))

    def _stand_in_line(self, waiting: Waiting) -> None:
        line = waiting.line
        with self._lock:
            if line in self._lines:
                self._lines[line].append(waiting)
                return
            self._lines[line] = deque([waiting])
            thread = threading.Thread(target=self._serve, args=(line,), name="captures", daemon=True)
            self._threads.add(thread)
        thread.start()

    def _serve(self, line: Line) -> None:
        """One container after another, until none is left. Should it break, the next container begins a new line."""
        try:
            while not self._stopping.is_set():
                with self._lock:
                    if not self._lines[line]:
                        del self._lines[line]
                        return
                    waiting = self._lines[line].popleft()
                if not self._has_had_its_turn(waiting):
                    with self._lock:
                        self._lines[line].append(waiting)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())
                if sys.exception() is not None:
                    del self._lines[line]

    def _has_had_its_turn(self, waiting: Waiting) -> bool:
        """Whether it is told what became of it. A containerd that is away is waited for."""
        try:
            return self._attend(waiting)
        except CaptureRefused as refused:
            self._refused(waiting.candidate, refused)
        except ContainerdError as error:
            if time.monotonic() < waiting.until:
                return self._stopping.wait(CONTAINERD_BACK_S)
            self._not_captured(waiting.candidate, error)
        except GlowplugError as error:
            self._not_captured(waiting.candidate, error)
        except OSError as error:
            self._not_captured(waiting.candidate, GlowplugError(str(error)))
        self._end_if_wanted(waiting.candidate, waiting.policy.when, captured=False)
        return True

    def _attend(self, waiting: Waiting) -> bool:
        """One turn. False where it is to have another one."""
        candidate = waiting.candidate
        if self._is_held(waiting):
            return True
        waiting.running = waiting.running or look_up(self._containerd, candidate.record, candidate.facts)
        if waiting.running is None:
            return True
        found = turn.wait(waiting, waiting.running, self._cri, self._stopping)
        if found == "late" and time.monotonic() >= waiting.until:
            limit_s = self._config.ready_deadline_s
            raise CaptureRefused("not-ready", f"it was not ready within {limit_s:g} s (ready_deadline_s)")
        if found != "ready":
            return found != "late"
        ready_at = time.monotonic()
        with self._slots:
            while capture_journal.running() >= self._config.captures_at_once:
                if self._stopping.wait(SLOT_EVERY_S):
                    return True
            if not self._is_held(waiting):
                self._require_tries_left(waiting)
                self._capture(waiting, waiting.running, turn.cold_start_s(waiting, ready_at))
        return True

    def _is_held(self, waiting: Waiting) -> bool:
        """Whether there is a checkpoint for it, which is told. Raises CaptureRefused where there can be none."""
        candidate = waiting.candidate
        why = held.why(self._store, self._judge, candidate, waiting.identity)
        if why is None:
            return False
        self._not_needed(candidate, why)
        self._end_if_wanted(candidate, waiting.policy.when)
        return True

    def _capture(self, waiting: Waiting, running: Running, cold_start_s: float | None) -> None:
        task = turn.task(waiting, running, self._config, cold_start_s)
        answer = self._children.capture(task)
        if answer is not None and answer["result"] != capture_told.CAPTURED:
            self._vain[waiting.line] += 1
        if answer is not None and answer.get("told") is False:
            error = GlowplugError(str(answer["detail"]))
            capture_told.not_captured(task.request, error, "agent", task.pod_uid)
            self._end_if_wanted(waiting.candidate, waiting.policy.when, captured=False)

    def _require_tries_left(self, waiting: Waiting) -> None:
        """Each try stops the container for a while. Raises CaptureRefused."""
        if self._vain[waiting.line] >= TRIES:
            raise CaptureRefused(
                "tried-before",
                f"{TRIES} captures of the same workload came to nothing: see `glowplug history`",
            )

    def _refused(self, candidate: Candidate, refused: CaptureRefused) -> None:
        if refused.slug in UNWANTED:
            self._not_needed(candidate, str(refused))
            return
        self._not_captured(candidate, refused)

    def _not_captured(self, candidate: Candidate, error: GlowplugError) -> None:
        capture_told.not_captured(turn.request(candidate), error, "agent", candidate.facts.sandbox_uid)

    def _not_needed(self, candidate: Candidate, why: str) -> None:
        facts = candidate.facts
        capture_told.not_needed(
            facts.sandbox_namespace, facts.sandbox_name, facts.container_name, why, facts.sandbox_uid
        )

    def _end_if_wanted(self, candidate: Candidate, when: When, *, captured: bool = True) -> None:
        """Of a pod that is there to be captured once: its work is done, or can't be."""
        if when != "once-and-exit" or not is_chosen(candidate.facts, self._config.capture_containers):
            return
        running = look_up(self._containerd, candidate.record, candidate.facts)
        if running is not None:
            (ending.end_with_zero if captured else ending.kill)(running.pid)

    def _undo_killed(self) -> None:
        said = ""
        while True:
            for journal in capture_journal.abandoned():
                try:
                    if capture_undo.undo(journal, self._config, self._containerd, self._cri):
                        log.info("saw to what the killed capture of container %s left", journal.container)
                    else:
                        journal.leave()
                except (GlowplugError, OSError) as error:
                    journal.leave()
                    if str(error) != said:
                        log.error("what a killed capture left can't be seen to: %s", error)
                    said = str(error)
            if self._stopping.wait(UNDO_EVERY_S):
                return


def _log_failure(done: "Future[None]") -> None:
    if not done.cancelled() and (error := done.exception()):
        log.error("a started container could not be looked at: %s", error)
