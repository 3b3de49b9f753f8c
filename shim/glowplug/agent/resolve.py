"""The agent's answer to "what about this container?": a plan to restore, or a slug with the reason.

Every answer is due within the runtime's deadline of one second; an error of ours is a miss.
"""

import json
import os
import time
from collections.abc import Mapping

from glowplug import paths
from glowplug.agent import intake
from glowplug.agent.history import History
from glowplug.cache.store import Store
from glowplug.capture import identity
from glowplug.checkpoint import bundle, requirements, verdict
from glowplug.checkpoint import manifest as manifests
from glowplug.checkpoint.manifest import Manifest
from glowplug.checkpoint.requirements import HostFacts
from glowplug.checkpoint.verdict import Candidate, Now
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.containerd.records import ContainerRecord
from glowplug.errors import CacheError, ManifestError, UsageError
from glowplug.host import memory, pagecache

Answer = dict[str, object]

RESTORE = "glowplug.dev/restore"


class Resolver:
    """Thread-safe. `host`: this node's facts, read once."""

    def __init__(
        self, config: Config, containerd: Containerd, store: Store, history: History, host: HostFacts
    ) -> None:
        self._config = config
        self._containerd = containerd
        self._store = store
        self._history = history
        self._host = host
        self._salt = store.salt()
        self._manifests: dict[str, Manifest] = {}

    def answer(self, question: Mapping[str, object]) -> Answer:
        """`{"op": "resolve", "container": ID, "bundle": DIRECTORY}` → `{"verdict": "match", …}` or a miss."""
        container, directory = question.get("container"), question.get("bundle")
        if not isinstance(container, str) or not isinstance(directory, str):
            raise UsageError("wanted container and bundle as text")
        intake.take_in(self._store, self._history)
        with open(f"{directory}/config.json", "rb") as file:
            spec = bundle.read(json.load(file))
        if self._history.has_restored(spec.sandbox_id, spec.container_name):
            return _miss("restored-before", "an earlier start of this container in this pod was a restore")
        record = self._containerd.container(container)
        found = identity.of(self._containerd, record, spec, self._salt)
        for slug, sentence in found.against:
            return _miss(slug, sentence)
        for part, what in found.key.unknown.items():
            return _miss("unknown-fact", f"{part}: {what} can't be told")
        candidates = self.candidates(record, spec, found)
        chosen, why = verdict.choose(candidates)
        if chosen is None:
            return _miss(verdict.miss_slug(candidates), why)
        if spec.annotations.get(RESTORE) == "observe":
            return _miss("observed", f"would have restored: {why}")
        return self._plan(spec, chosen, why)

    def candidates(
        self, record: ContainerRecord, spec: bundle.BundleFacts, found: identity.Identity
    ) -> list[Candidate]:
        """Every checkpoint of this workload that the pod's namespace may use, judged."""
        given = requirements.given(spec, ())
        judged = []
        for entry in self._store.index.find(spec.sandbox_namespace, found.key.digest):
            try:
                manifest = self.manifest(entry.id)
            except (CacheError, ManifestError):
                continue  # unreadable, or of a newer Glowplug: nothing that could be restored
            now = self._now(entry.id, manifest, record, spec.sandbox_namespace)
            result = verdict.judge(manifest, found.key, self._host, given, now)
            judged.append(Candidate(entry.id, manifest.created, result))
        return judged

    def manifest(self, checkpoint: str) -> Manifest:
        """Raises CacheError, ManifestError."""
        if checkpoint not in self._manifests:
            self._manifests[checkpoint] = manifests.loads(self._store.manifest(checkpoint))
        return self._manifests[checkpoint]

    def _now(self, checkpoint: str, manifest: Manifest, record: ContainerRecord, namespace: str) -> Now:
        path = self._store.path(checkpoint)
        return Now(
            namespace=namespace,
            quarantined=self._store.state(checkpoint).quarantined(time.time()) is not None,
            complete=_is_complete(path, manifest),
            free_memory=memory.available(),
            free_disk=self._free_disk(record),
            restores_running=len(os.listdir(paths.attempts())) if os.path.isdir(paths.attempts()) else 0,
            unread_bytes=_unread(path, manifest),
            deadline_s=self._config.restore_deadline_s,
        )

    def _free_disk(self, record: ContainerRecord) -> int | None:
        """Of the file system that the container's writable layer lies on."""
        for mount in self._containerd.rootfs_mounts(record):
            for option in mount.options:
                if option.startswith("upperdir="):
                    found = os.statvfs(option.removeprefix("upperdir="))
                    return found.f_bavail * found.f_frsize
        return None

    def _plan(self, spec: bundle.BundleFacts, chosen: Candidate, why: str) -> Answer:
        """All that the runtime needs to know; it reads no configuration of its own."""
        shm = next((mount.source for mount in spec.mounts if mount.destination == "/dev/shm"), "")
        return {
            "verdict": "match",
            "checkpoint": chosen.id,
            "why": why,
            "cache": self._config.cache,
            "criu": self._config.criu,
            "deadline_s": self._config.restore_deadline_s,
            "shm": shm,
            "uts": spec.namespaces.get("uts", ""),
        }


def _miss(slug: str, detail: str) -> Answer:
    return {"verdict": "miss", "slug": slug, "detail": detail}


def _is_complete(path: str, manifest: Manifest) -> bool:
    """Presence only: sizes and digests are looked at once more by the runtime, under its lease."""
    return all(os.path.lexists(f"{path}/{name}") for name in manifest.files)


def _unread(path: str, manifest: Manifest) -> int | None:
    try:
        return sum(
            pagecache.uncached_bytes(f"{path}/{name}")
            for name, file in manifest.files.items()
            if file.kind in ("pages", "memory")
        )
    except OSError:
        return None
