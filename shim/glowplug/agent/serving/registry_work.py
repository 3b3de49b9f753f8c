"""The registry's part of the agent: pushes what was captured, pulls what starts missed. In the background, bounded.

One push and two pulls at a time, each a process of its own (registry/task.py); nothing of the protocol or of
cryptography is imported here. A push that is not done is noted in the cache, so that another agent takes it up.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from glowplug.agent.child_tasks import ChildTasks
from glowplug.cache import layout
from glowplug.cache.store import Store
from glowplug.capture.policy import duration
from glowplug.checkpoint.bundle import OWN_ANNOTATIONS, BundleFacts
from glowplug.checkpoint.requirements import HostRequirements
from glowplug.config import Config
from glowplug.errors import CacheError, UsageError
from glowplug.outcomes import report
from glowplug.outcomes.record import Record, text
from glowplug.registry import lookups, policy

WAIT = OWN_ANNOTATIONS + "registry-wait"

PULLS_AT_ONCE = 2
QUEUED = 32
"""Pushes, or pulls, that wait for their turn; what comes then is left to its next start or capture."""
LOOK_AGAIN_S = 30.0
PUSH_AGAIN_S = (5.0, 30.0, 120.0, 600.0)
LONGEST_WAIT_S = 30.0
"""Less than the kubelet has patience for, with a cold start behind it."""

Key = tuple[str, str]
"""Namespace and digest of a workload key."""
Miss = tuple[str, str, bool]
"""Slug, detail, and whether the start is to wait."""


LabelsOf = Callable[[str, str], Mapping[str, str]]


class RegistryWork:
    """Thread-safe. Does nothing where no registry is configured."""

    def __init__(self, config: Config, store: Store, labels: LabelsOf = lambda namespace, pod: {}) -> None:
        """`labels`: of a pod, by namespace and name; a push takes them along for `glowplug warm`."""
        self._config = config
        self._labels = labels
        self._store = store
        self._lock = threading.Lock()
        self._pulling: set[Key] = set()
        self._looked: dict[Key, float] = {}
        self._waiting_since: dict[str, float] = {}
        self._pushing: set[str] = set()
        self._tasks = ChildTasks("glowplug.registry.task")
        self._stopping = threading.Event()
        self._pushes = ThreadPoolExecutor(1, thread_name_prefix="push")
        self._pulls = ThreadPoolExecutor(PULLS_AT_ONCE, thread_name_prefix="pull")

    @property
    def is_configured(self) -> bool:
        """Whether there is a registry."""
        return self._config.registry.is_configured

    def start(self) -> None:
        """Takes up what an agent before left to push."""
        if not self.is_configured:
            return
        lookups.forget_old()
        for checkpoint in self._noted():
            self._push_later(checkpoint)

    def close(self) -> None:
        """Ends what is under way; it continues with the next agent."""
        self._stopping.set()
        self._tasks.stop()
        self._pushes.shutdown(cancel_futures=True)
        self._pulls.shutdown(cancel_futures=True)

    # -- pulls --

    def missed(
        self, container: str, facts: BundleFacts, key_digest: str, row: HostRequirements
    ) -> Miss | None:
        """A start found no checkpoint here: looks into the registry for the next one, or for this.

        None where the registry has nothing to say about it. `row`: the host, and what is assigned to the container.
        """
        namespace = facts.sandbox_namespace
        if (
            not key_digest
            or self._config.mode != "on"
            or not policy.may_come(self._config.registry, facts.annotations)
        ):
            return None
        key = namespace, key_digest
        self._look_later(key, row)
        with self._lock:
            is_pulling = key in self._pulling
            waits = is_pulling and self._waits(container, facts)
        if waits:
            return "no-checkpoint", "its checkpoint is being pulled from the registry", True
        if is_pulling:
            return (
                "no-checkpoint",
                "no checkpoint of this workload here; the registry is queried for one",
                False,
            )
        found = lookups.read(*key)
        if found is None or not found.is_refusal:
            return None
        return found.slug, found.detail, False

    def _waits(self, container: str, facts: BundleFacts) -> bool:
        """Whether the pod wants this start to wait, and has not waited so long yet."""
        try:
            allowed_s = duration(facts.annotations[WAIT])
        except (KeyError, UsageError, ValueError):
            return False
        since = self._waiting_since.setdefault(container, time.monotonic())
        if len(self._waiting_since) > 1000:
            del self._waiting_since[next(iter(self._waiting_since))]
        return time.monotonic() - since < min(allowed_s, LONGEST_WAIT_S)

    def _look_later(self, key: Key, row: HostRequirements) -> None:
        with self._lock:
            recently = time.monotonic() - self._looked.get(key, -LOOK_AGAIN_S) < LOOK_AGAIN_S
            if key in self._pulling or recently or len(self._pulling) >= QUEUED or self._stopping.is_set():
                return
            self._pulling.add(key)
        self._pulls.submit(self._pull, key, row)

    def _pull(self, key: Key, row: HostRequirements) -> None:
        namespace, key_digest = key
        try:
            said = self._run({"op": "pull", "namespace": namespace, "key": key_digest, "row": asdict(row)})
            if said is None:
                return
            slug = str(said.get("slug") or said["result"])
            slug = slug if said["result"] != "missed" or slug not in _OF_TRUST else f"registry-{slug}"
            lookups.write(namespace, key_digest, slug, str(said.get("detail", "")))
            _note("pull", namespace, {**said, "key": key_digest[:12]})
        finally:
            with self._lock:
                self._pulling.discard(key)
                self._looked[key] = time.monotonic()
                if len(self._looked) > 10_000:
                    del self._looked[next(iter(self._looked))]

    # -- pushes --

    def report(self, record: Record) -> None:
        """Of the history's: a checkpoint was captured."""
        if not self.is_configured or (text(record, "event"), text(record, "result")) != (
            "capture",
            "captured",
        ):
            return
        checkpoint = text(record, "checkpoint")
        if layout.is_id(checkpoint):
            with contextlib.suppress(OSError):
                os.makedirs(self._notes, 0o700, exist_ok=True)
                labels = self._labels(text(record, "namespace"), text(record, "pod"))
                with open(f"{self._notes}/{checkpoint}", "w") as file:
                    json.dump({"labels": dict(labels)}, file)
            self._push_later(checkpoint)

    @property
    def _notes(self) -> str:
        return f"{self._config.cache}/registry/pushes"

    def _noted(self) -> list[str]:
        try:
            return [name for name in sorted(os.listdir(self._notes)) if layout.is_id(name)]
        except OSError:
            return []

    def _push_later(self, checkpoint: str) -> None:
        with self._lock:
            if checkpoint in self._pushing or len(self._pushing) >= QUEUED or self._stopping.is_set():
                return
            self._pushing.add(checkpoint)
        self._pushes.submit(self._push, checkpoint)

    def _push(self, checkpoint: str) -> None:
        """Until it is there, or can't be."""
        try:
            wanted = self._wanted(checkpoint)
            if wanted is None:
                self._done(checkpoint)
                return
            for wait_s in (*PUSH_AGAIN_S, None):
                said = self._run({"op": "push", "checkpoint": checkpoint, **wanted})
                if said is None:
                    return
                _note("push", str(wanted["namespace"]), {"checkpoint": checkpoint, **said})
                if said["result"] != "failed":
                    self._done(checkpoint)
                    return
                if wait_s is None or self._stopping.wait(wait_s) or not self._is_there(checkpoint):
                    return
        finally:
            with self._lock:
                self._pushing.discard(checkpoint)

    def _wanted(self, checkpoint: str) -> dict[str, object] | None:
        """What the push needs to know; None where its pod wants none, or it is gone."""
        try:
            plain = json.loads(self._store.manifest(checkpoint))
        except (CacheError, ValueError):
            return None
        settings = plain.get("settings", {})
        if not policy.may_leave(self._config.registry, settings):
            return None
        return {"namespace": plain["namespace"], "labels": self._noted_labels(checkpoint)}

    def _noted_labels(self, checkpoint: str) -> dict[str, str]:
        """Empty where an agent before wrote none, or was killed while it did."""
        try:
            with open(f"{self._notes}/{checkpoint}") as file:
                return {str(name): str(value) for name, value in json.load(file)["labels"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _is_there(self, checkpoint: str) -> bool:
        try:
            self._store.path(checkpoint)
        except CacheError:
            self._done(checkpoint)
            return False
        return True

    def _done(self, checkpoint: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(f"{self._notes}/{checkpoint}")

    # -- both --

    def _run(self, task: Mapping[str, object]) -> dict[str, object] | None:
        """The answer of a process that does it; None where the agent is being stopped."""
        ended = self._tasks.run({"config": asdict(self._config), **task})
        if ended is None or (self._stopping.is_set() and ended.status != 0):
            return None
        if ended.answer is not None and "result" in ended.answer:
            return ended.answer
        detail = f"the process for it ended with status {ended.status} and no answer"
        return {"result": "failed", "slug": "registry-failed", "detail": detail}


_OF_TRUST = frozenset(
    (
        "unsigned",
        "wrong-signature",
        "other-signature",
        "not-ours",
        "other-tag",
        "other-namespace",
        "rolled-back",
        "too-old",
        "damaged",
        "newer-artifact",
    )
)
"""Slugs of look.py that are no slug of docs/matching.md: an outcome has "registry-" before them."""


def _note(op: str, namespace: str, said: Mapping[str, object]) -> None:
    """For the log and `glowplug history`."""
    report.append({"event": "registry", "op": op, "namespace": namespace, **said})
