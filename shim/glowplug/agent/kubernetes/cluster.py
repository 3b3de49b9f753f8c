"""What is written to Kubernetes: an Event and an annotation on the pod for each outcome, the condition that its
readiness gate may wait for, and the node's labels.

A reporter (ingest.py): it puts what is to be written into the writer's queue and returns.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TypeVar

from glowplug.agent.kubernetes.writer import Count, Write, Writer
from glowplug.apiserver import node_labels
from glowplug.apiserver.client import Api, Forbidden, Pod, Unknown, Unreachable
from glowplug.capture import namespaces
from glowplug.errors import UsageError
from glowplug.outcomes import capture_outcome
from glowplug.outcomes.record import Record, kind, number, text

log = logging.getLogger("glowplug.agent")

Found = TypeVar("Found")

OUTCOME = "glowplug.dev/outcome"
CAPTURED = "glowplug.dev/captured"
"""The pod condition, and the readiness gate's conditionType: true when no capture is to come (any more)."""

ROUND_EVERY_S = 30.0
LABELS_EVERY_S = 20.0
"""What others may have done to the node's labels, looked at in every round: while one is missing that the RuntimeClass
selects by, new pods of the class are Pending. A Node that was deleted and that its kubelet made again has none."""

LOOKED_AT_EVERY_S = 600.0
"""What else others may have changed: pods that wait at the gate, whether we may annotate."""

NEW_NAMESPACE_AFTER_S = 5.0
"""However many namespaces are seen that the last list lacks, they are listed no more often."""

SAME_EVENT_AFTER_S = 600.0
"""A container that starts again and again is reported no more often."""

REMEMBERED = 1000
STOPS_WITHIN_S = 8.0

AFTER_CAPTURE, AFTER_RESTORE = "after-capture", "after-restore"
"""Hooks: an engine that was not woken answers nobody, whatever its readiness probe says."""

_EVENTS = {
    "restored": ("Normal", "Restored"),
    "cold": ("Normal", "ColdStart"),
    "fallback": ("Warning", "RestoreFailed"),
    capture_outcome.CAPTURED: ("Normal", "Captured"),
    capture_outcome.REFUSED: ("Normal", "CaptureRefused"),
    capture_outcome.FAILED: ("Warning", "CaptureFailed"),
    capture_outcome.NOT_NEEDED: ("Normal", "CaptureNotNeeded"),
    AFTER_CAPTURE: ("Warning", "AfterCaptureFailed"),
    AFTER_RESTORE: ("Warning", "AfterRestoreFailed"),
}


_RESTORED = "the container was restored; there is nothing to capture"


class Cluster:
    """From `start` to `stop`. Thread-safe."""

    def __init__(
        self,
        setting: str,
        node: str,
        labels: Callable[[], dict[str, str]],
        records: Callable[[], Iterable[Record]],
        count: Count,
    ) -> None:
        """`labels`: the node's, as they are to be now. `records`: the history, the oldest first."""
        self._setting = setting
        self._node = node
        self._labels = labels
        self._records = records
        self._api: Api | None = None
        self._there: dict[str, str] = {}
        self._saw_labels = self._saw_gates = float("-inf")
        self._annotates_from = 0.0
        self._lock = threading.Lock()
        self._events: OrderedDict[tuple[str, ...], float] = OrderedDict()
        self._namespaces_from = self._new_namespace_from = 0.0
        rounds = (self._look_at_namespaces, self._label, self._look_at_gates)
        self._writer = Writer(count, rounds, ROUND_EVERY_S)

    def start(self) -> None:
        """Returns at once; the client is loaded, and the way to the API server found, by the writer."""
        self._writer.start()

    def stop(self) -> None:
        """The node's labels stay: what is active in containerd does not end with the agent."""
        self._writer.stop(STOPS_WITHIN_S)

    def look_now(self) -> None:
        """The node's labels may have changed: write them now, and not at the next round."""
        self._writer.hurry()

    def saw_namespace(self, name: str) -> None:
        """A pod's, which may be newer than the list: then its uid is read now, and not at the next round."""
        now = time.monotonic()
        if name and now >= self._new_namespace_from and not namespaces.uid(name):
            self._new_namespace_from = now + NEW_NAMESPACE_AFTER_S
            self._namespaces_from = 0.0
            self._writer.hurry()

    def report_node(self, kind: str, reason: str, message: str) -> None:
        """An Event on the node. `kind`: Normal or Warning."""
        at = time.time()
        if not self._was_reported((self._node, reason, message)):
            self._put(
                f"the event {reason} of the node",
                lambda api: api.node_event(self._node, kind, reason, message, at),
            )

    def report(self, record: Record) -> None:
        """One record of the history."""
        pod = Pod(text(record, "namespace"), text(record, "pod"), text(record, "pod_uid"))
        if not pod.namespace or not pod.name:
            return
        container = text(record, "container")
        outcome, reason = kind(record)
        if record.get("event") == "capture":
            self._report_capture(pod, container, record)
        elif record.get("event") == AFTER_RESTORE:
            self._report_awake(pod, container, record)
        elif outcome in ("restored", "cold", "fallback"):
            # A sidecar or an init container that nobody wanted to capture always starts cold: no event of anybody's.
            if outcome != "cold" or record.get("chosen") is not False:
                self._event(pod, container, outcome, _sentence(record, reason), _moment(record))
            if time.monotonic() >= self._annotates_from:
                self._put(f"the outcome of pod {pod.name}", lambda api: self._annotate(api, pod))

    def _report_awake(self, pod: Pod, container: str, record: Record) -> None:
        """A restored container answers (again), or is not waited for any more."""
        if text(record, "result") == "failed":
            self._event(pod, container, AFTER_RESTORE, text(record, "detail"), _moment(record))
        else:
            self._open_gate(pod, "Restored", _RESTORED)

    def _report_capture(self, pod: Pod, container: str, record: Record) -> None:
        result = text(record, "result")
        if result not in _EVENTS:
            return
        if result != capture_outcome.NOT_NEEDED:
            self._event(pod, container, result, _captured(record), _moment(record))
        if result == capture_outcome.CAPTURED and text(record, "detail"):
            self._event(pod, container, AFTER_CAPTURE, text(record, "detail"), _moment(record))
        self._open_gate(pod, _EVENTS[result][1], _captured(record))

    def _event(self, pod: Pod, container: str, what: str, message: str, at: float) -> None:
        form, reason = _EVENTS[what]
        if self._was_reported((*_names(pod), container, reason, message)):
            return
        self._put(
            f"the event {reason} of pod {pod.name}",
            lambda api: api.event(pod, form, reason, message, container, self._node, at),
        )

    def _open_gate(self, pod: Pod, reason: str, message: str) -> None:
        self._put(
            f"the condition of pod {pod.name}",
            lambda api: api.condition(pod, CAPTURED, reason, message),
            needed=True,
        )

    def _put(self, what: str, run: Callable[[Api], None], *, needed: bool = False) -> None:
        self._writer.put(Write(what, lambda: self._call(run), needed))

    def _was_reported(self, event: tuple[str, ...]) -> bool:
        now = time.monotonic()
        with self._lock:
            if now - self._events.get(event, -SAME_EVENT_AFTER_S) < SAME_EVENT_AFTER_S:
                return True
            self._events[event] = now
            self._events.move_to_end(event)
            while len(self._events) > REMEMBERED:
                self._events.popitem(last=False)
            return False

    # -- in the writer's thread --

    def _call(self, run: Callable[[Api], Found]) -> Found:
        """With a way to the API server: the one that there is, or one as the kubeconfig says now."""
        try:
            if self._api is None:
                self._api = Api(self._setting)
            return run(self._api)
        except UsageError as error:  # a kubeconfig may come later, a package be installed
            raise Unreachable(str(error)) from None
        except Unknown:
            self._api = None
            raise

    def _label(self) -> None:
        """The node's labels as they should be."""
        if time.monotonic() - self._saw_labels >= LABELS_EVERY_S:
            self._there = self._call(lambda api: api.labels(self._node))
            self._saw_labels = time.monotonic()
        labels = self._labels()
        changes = node_labels.changes(self._there, labels)
        if changes:
            self._call(lambda api: api.label(self._node, changes))
            self._there = {**self._there, **labels}
            for name in (name for name, value in changes.items() if value is None):
                self._there.pop(name, None)

    def _look_at_gates(self) -> None:
        """Pods that wait for what has long happened."""
        if time.monotonic() - self._saw_gates >= LOOKED_AT_EVERY_S:
            self._catch_up(self._call(lambda api: api.waiting(self._node, CAPTURED)))
            self._saw_gates = time.monotonic()

    def _look_at_namespaces(self) -> None:
        """Their uids; where that is not allowed, nobody says."""
        if time.monotonic() < self._namespaces_from:
            return
        try:
            namespaces.note(self._call(lambda api: api.namespaces()))
        except Forbidden as error:
            log.info("namespaces are known by name alone (docs/matching.md, rule 7.2): %s", error)
            self._new_namespace_from = time.monotonic() + LOOKED_AT_EVERY_S
        except OSError as error:
            log.warning("the uids of namespaces can't be written down: %s", error)
        self._namespaces_from = time.monotonic() + LOOKED_AT_EVERY_S

    def _annotate(self, api: Api, pod: Pod) -> None:
        """The latest outcome of each container of the pod, in one annotation: `main=restored,other=cold:off`."""
        outcomes = {
            text(record, "container"): text(record, "outcome")
            for record in self._records()
            if record.get("pod") == pod.name
            and (text(record, "namespace"), text(record, "pod_uid")) == (pod.namespace, pod.uid)
            and "outcome" in record
        }
        value = ",".join(f"{name}={said}" for name, said in sorted(outcomes.items()))
        try:
            api.annotate(pod, {OUTCOME: value})
        except Forbidden:  # a right that some nodes do not have: not tried for each start
            self._annotates_from = time.monotonic() + LOOKED_AT_EVERY_S
            raise

    def _catch_up(self, waiting: Iterable[Pod]) -> None:
        """What an agent before this one had no time to write, or nobody could."""
        pods = {(pod.namespace, pod.name): pod for pod in waiting}
        for record in self._records() if pods else ():
            pod = pods.get((text(record, "namespace"), text(record, "pod")))
            if pod is None or text(record, "pod_uid") not in ("", pod.uid):
                continue
            result = text(record, "result")
            if record.get("event") == "capture" and result in _EVENTS:
                self._open_gate(pod, _EVENTS[result][1], _captured(record))
            elif record.get("event") == AFTER_RESTORE and result != "failed":
                self._open_gate(pod, "Restored", _RESTORED)


def _names(pod: Pod) -> tuple[str, str, str]:
    return pod.namespace, pod.name, pod.uid


def _sentence(record: Record, reason: str) -> str:
    """What happened, why, and how long it took; of a checkpoint its id, of memory how fast."""
    detail, total_s = text(record, "detail"), number(record, "total_s")
    words = {
        "restored": f"restored from checkpoint {text(record, 'checkpoint')}",
        "cold": f"started cold ({reason}): {detail}",
        "fallback": f"the restore failed ({reason}), so it started cold: {detail}",
    }[kind(record)[0]]
    return words if total_s is None or not text(record, "checkpoint") else f"{words}; it took {total_s:.2f} s"


def _moment(record: Record) -> float:
    """Of the record, where it has one that can be."""
    said, now = number(record, "time") or 0.0, time.time()
    return said if 0 < said <= now else now


def _captured(record: Record) -> str:
    if text(record, "result") != capture_outcome.CAPTURED:
        return text(record, "detail")
    size, pause_s = number(record, "bytes") or 0.0, number(record, "pause_s") or 0.0
    return f"captured as {text(record, 'checkpoint')}: {size / 1e6:.0f} MB, paused {pause_s:.2f} s"
