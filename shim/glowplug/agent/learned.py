"""What is learned of each workload from the outcomes of its captures and restores; one back-off for all of it.

A workload is what its pods have in common, whatever else differs between them (Judgement.workload): so captures that
no later pod could use are seen. Kept in one small file beside the cache, root's alone: counts, times and hashes.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from glowplug.cache import fault
from glowplug.cache.fault import Fault
from glowplug.checkpoint.judgement import SERVICE_LINKS, Judgement, leaves
from glowplug.errors import CaptureRefused
from glowplug.outcomes.record import Record, kind, text

log = logging.getLogger("glowplug.agent")

Clock = Callable[[], float]

FORMAT = 1
KEPT = 1000
"""Workloads, the last ones that something happened to."""

UNUSED_CAPTURES = 2
"""Captures without a restore; then no more for a while."""
UNUSED_REST_S = 86_400.0

FAILED_REST_S = (0.0, 60.0, 600.0, 3600.0)
"""After so many captures in a row that came to nothing: each may stop the container for a while."""

FALLBACKS = 3
"""Restores in a row that failed in the same stage through no fault of the checkpoint; then each start is cold for a
while, which doubles."""
FALLBACK_REST_S = 30.0
LONGEST_REST_S = 3600.0

NODE_FALLBACKS = 6
"""The same of the node, whatever workloads they were of."""

WAKES = 3
"""Restored containers in a row that could not be woken."""

SHOWN = 5


@dataclass(slots=True)
class Workload:
    """Counts since the last good restore. Times in Unix time. `parts`: hashes of the last two captures' key parts."""

    captures: int = 0
    failed_captures: int = 0
    stage: str = ""
    fallbacks: int = 0
    failed_wakes: int = 0
    no_capture_before: float = 0.0
    no_restore_before: float = 0.0
    why: str = ""
    parts: list[dict[str, str]] = field(default_factory=list)


class Learned:
    """Thread-safe. `directory`: the cache's."""

    def __init__(self, directory: str, clock: Clock = time.time, *, back_off: bool = True) -> None:
        """`back_off` False: it learns, and keeps nobody from anything."""
        self._path = f"{directory}/learned.json"
        self._clock = clock
        self._backs_off = back_off
        self._lock = threading.Lock()
        self._workloads: dict[str, Workload] = _read(self._path)
        self._node = Workload()
        self._unsaved = False

    def of(self, workload: str) -> Workload:
        """What is known of it; zeros where nothing is."""
        with self._lock:
            return self._workloads.get(workload, Workload())

    def require_capture(self, workload: str) -> None:
        """Raises CaptureRefused while captures of it rest."""
        known, now = self.of(workload), self._clock()
        if now >= known.no_capture_before or not self._backs_off:
            return
        left = _duration(known.no_capture_before - now)
        if known.captures >= UNUSED_CAPTURES:
            raise CaptureRefused(
                "never-restored",
                f"{known.captures} captures of this workload were never restored: its pods differ in "
                f"{known.why or 'nothing that was noted'}; the next capture is made in {left}",
            )
        raise CaptureRefused(
            "tried-before",
            f"{known.failed_captures} captures of this workload failed"
            f"{f' ({known.why})' if known.why else ''}: see `glowplug history --captures`; "
            f"the next one is tried in {left}",
        )

    def restore_objection(self, workload: str) -> str | None:
        """Why no restore of it is tried at this moment."""
        now = self._clock()
        if not self._backs_off:
            return None
        with self._lock:
            for known, whose in (
                (self._workloads.get(workload), "of this workload"),
                (self._node, "on this node"),
            ):
                if known is not None and now < known.no_restore_before:
                    left = _duration(known.no_restore_before - now)
                    return f"restores {whose} failed ({known.why}): the next one is tried in {left}"
        return None

    def captured(self, judgement: Judgement) -> None:
        """A capture was published."""
        with self._change(judgement.workload) as known:
            known.captures += 1
            known.failed_captures = 0
            known.parts = [*known.parts, leaves(judgement.key)][-2:]
            if known.captures >= UNUSED_CAPTURES:
                known.why = differing(known.parts)
                known.no_capture_before = self._clock() + UNUSED_REST_S
                log.warning(
                    "container %s of namespace %s: %d captures and no restore; its pods differ in %s",
                    judgement.name,
                    judgement.namespace,
                    known.captures,
                    known.why or "nothing",
                )

    def not_captured(self, judgement: Judgement, slug: str) -> None:
        """A capture was tried, and came to nothing through the workload itself."""
        with self._change(judgement.workload) as known:
            known.failed_captures += 1
            rest_s = FAILED_REST_S[min(known.failed_captures, len(FAILED_REST_S)) - 1]
            known.no_capture_before = self._clock() + rest_s
            known.why = slug

    def report(self, record: Record) -> None:
        """One record of the history, which names its `workload` where that is known (ingest.py)."""
        workload = text(record, "workload")
        outcome, stage = kind(record)
        if outcome == "restored":
            self._restored(workload)
        elif outcome == "fallback":
            self._fell_back(workload, stage, text(record, "detail"))
        elif record.get("event") == "after-restore" and workload:
            self._woken(workload, failed=text(record, "result") == "failed")

    def save(self) -> None:
        """Write down what is new. One that can't be written is written another time."""
        with self._lock:
            if not self._unsaved:
                return
            plain = {
                "format": FORMAT,
                "workloads": {name: asdict(one) for name, one in self._workloads.items()},
            }
            self._unsaved = False
        try:
            aside = f"{self._path}.new"
            with open(
                os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w"
            ) as file:
                json.dump(plain, file)
            os.rename(aside, self._path)
        except OSError as error:
            self._unsaved = True
            log.warning("what was learned of workloads can't be saved: %s", error)

    def _restored(self, workload: str) -> None:
        with self._lock:
            self._node = Workload()
        if workload:
            with self._change(workload) as known:
                known.captures = known.failed_captures = known.fallbacks = 0
                known.no_restore_before = known.no_capture_before = 0.0
                known.stage = known.why = ""
                known.parts = []

    def _fell_back(self, workload: str, stage: str, detail: str) -> None:
        if fault.whose(stage, [detail]) is Fault.CHECKPOINT:
            return  # which has a quarantine of its own
        with self._change("") as known:
            self._count_fallback(known, stage, NODE_FALLBACKS)
        if workload:
            with self._change(workload) as known:
                self._count_fallback(known, stage, FALLBACKS)

    def _count_fallback(self, known: Workload, stage: str, allowed: int) -> None:
        known.fallbacks = known.fallbacks + 1 if known.stage == stage else 1
        known.stage = stage
        if known.fallbacks >= allowed:
            rest_s = min(LONGEST_REST_S, FALLBACK_REST_S * 2 ** (known.fallbacks - allowed))
            known.no_restore_before = self._clock() + rest_s
            known.why = f"{known.fallbacks} in a row in stage {stage}"

    def _woken(self, workload: str, *, failed: bool) -> None:
        with self._change(workload) as known:
            known.failed_wakes = known.failed_wakes + 1 if failed else 0
            if known.failed_wakes >= WAKES:
                rest_s = min(LONGEST_REST_S, FALLBACK_REST_S * 2 ** (known.failed_wakes - WAKES))
                known.no_restore_before = self._clock() + rest_s
                known.why = f"{known.failed_wakes} restored containers in a row could not be woken"

    def _change(self, workload: str) -> "_Change":
        return _Change(self, workload)


class _Change:
    """A workload's record, changed under the lock; "" is the node's, which is not kept."""

    def __init__(self, learned: Learned, workload: str) -> None:
        self._learned = learned
        self._workload = workload

    def __enter__(self) -> Workload:
        self._learned._lock.acquire()
        if not self._workload:
            return self._learned._node
        known = self._learned._workloads.pop(self._workload, None) or Workload()
        self._learned._workloads[self._workload] = known  # the last one again
        while len(self._learned._workloads) > KEPT:
            del self._learned._workloads[next(iter(self._learned._workloads))]
        return known

    def __exit__(self, *_: object) -> None:
        self._learned._unsaved = True
        self._learned._lock.release()


def differing(parts: list[dict[str, str]]) -> str:
    """The names of the parts that differ between two captures; "" where none does."""
    if len(parts) < 2:
        return ""
    before, after = parts[-2:]
    either = before.keys() | after.keys()
    both = before.keys() & after.keys()  # a service that is gone or new is no difference (rule 3.4)
    names = {name for name in either if name in both or not name.startswith(SERVICE_LINKS)}
    found = sorted(name for name in names if before.get(name) != after.get(name))
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.0f} h" if seconds >= 5400 else f"{max(1.0, seconds / 60):.0f} min"


def _read(path: str) -> dict[str, Workload]:
    """What an agent before this one wrote; nothing where it can't be understood."""
    known = {one.name for one in fields(Workload)}
    try:
        with open(path, "rb") as file:
            plain: Mapping[str, Any] = json.load(file)
        if plain["format"] != FORMAT:
            return {}
        return {
            str(name): Workload(**{key: value for key, value in one.items() if key in known})
            for name, one in plain["workloads"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
