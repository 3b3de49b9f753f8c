"""Every checkpoint that a container might start from, judged: for the agent's answer and for `glowplug explain`.

What holds at this moment is read once per question; what a checkpoint says of itself never changes, so it is
parsed once.
"""

import os
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from glowplug.cache.index import Entry
from glowplug.cache.store import Store
from glowplug.capture import resources
from glowplug.checkpoint import manifest as manifests
from glowplug.checkpoint import requirements, sharing, verdict
from glowplug.checkpoint.bundle import BundleFacts
from glowplug.checkpoint.key import WorkloadKey
from glowplug.checkpoint.manifest import Manifest, NewerManifest
from glowplug.checkpoint.manifest_schema import VERSION
from glowplug.checkpoint.reason import Reason
from glowplug.checkpoint.requirements import HostFacts
from glowplug.checkpoint.verdict import Candidate, Now, Verdict
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.containerd.records import ContainerRecord
from glowplug.errors import CacheError, ContainerdError, ManifestError
from glowplug.explain import gpus
from glowplug.host import memory, pagecache
from glowplug.outcomes import under_way
from glowplug.outcomes.rates import Rates

JUDGED = 8
"""Checkpoints of one workload that an answer may take the time to judge: the newest ones."""

PARSED = 256
"""Manifests kept parsed: 4 ms each to parse, and small beside what they describe."""

IN_MEMORY_S = 1.0
"""For so long a checkpoint that was all in the page cache is taken to be: to look takes 5 ms for 2.5 GB."""


class Judge:
    """Thread-safe. `host`: this node's facts. `rates`: how fast it restores."""

    def __init__(
        self,
        config: Config,
        containerd: Containerd,
        store: Store,
        host: HostFacts,
        rates: Rates,
    ) -> None:
        self._config = config
        self._containerd = containerd
        self._store = store
        self._host = host
        self._rates = rates
        self._lock = threading.Lock()
        self._manifests: dict[str, Manifest] = {}
        self._snapshots: dict[str, str] = {}
        self._in_memory: dict[str, float] = {}

    def candidates(
        self,
        entries: Iterable[Entry],
        record: ContainerRecord | None,
        facts: BundleFacts,
        key: WorkloadKey,
    ) -> list[Candidate]:
        """The verdict on each. Checkpoints that vanish meanwhile are left out.

        `record` None: the container is not there yet, so the disk of its writable layer is not known either.
        """
        limits = resources.of(facts, gpus.of(facts))
        now = self.now(record, facts.sandbox_namespace, self.accepts(facts))
        judged = (self._judged(entry, key, limits, now) for entry in entries)
        return [candidate for candidate in judged if candidate is not None]

    def manifest(self, checkpoint: str) -> Manifest:
        """Raises CacheError, ManifestError."""
        known = self._manifests.get(checkpoint)
        if known is None:
            known = manifests.loads(self._store.manifest(checkpoint))
            with self._lock:
                self._manifests[checkpoint] = known
                if len(self._manifests) > PARSED:
                    del self._manifests[next(iter(self._manifests))]
        return known

    def accepts(self, facts: BundleFacts) -> frozenset[str]:
        """The other namespaces whose shared checkpoints this pod takes."""
        return sharing.accepted(facts.annotations, self._config.sharing, facts.sandbox_namespace)

    def now(
        self, record: ContainerRecord | None, namespace: str, accepts: frozenset[str] = frozenset()
    ) -> Now:
        """What holds for each checkpoint alike."""
        return Now(
            namespace=namespace,
            accepts=accepts,
            free_memory=memory.available(),
            free_disk=None if record is None else self._free_disk(record),
            restores_running=under_way.restores_running(),
            rates=self._rates.measured(),
            deadline_s=self._config.restore_deadline_s,
        )

    def _judged(
        self,
        entry: Entry,
        key: WorkloadKey,
        limits: requirements.ContainerResources,
        now: Now,
    ) -> Candidate | None:
        try:
            manifest = self.manifest(entry.id)
            path = self._store.path(entry.id)
        except NewerManifest as error:
            newer = Reason("manifest version", str(error.version), f"{VERSION} or older", "newer-manifest")
            return _unusable(entry, newer)
        except (ManifestError, CacheError):
            if self._store.index.get(entry.id) is None:
                return None
            return _unusable(entry, Reason("manifest", "intact", "damaged", "no-checkpoint"))
        own = replace(
            now,
            quarantined=self._store.state(entry.id).quarantined(time.time()) is not None,
            complete=_is_complete(path, manifest),
            unread_bytes=self._unread(path, manifest),
        )
        created = manifest.created if entry.made(time.time()) else ""  # sorts before all others
        return Candidate(entry.id, created, verdict.judge(manifest, key, self._host, limits, own))

    def _unread(self, path: str, manifest: Manifest) -> int | None:
        """What was all in memory a moment ago is not looked at again: a container's start follows its creation."""
        now = time.monotonic()
        if now - self._in_memory.get(path, float("-inf")) < IN_MEMORY_S:
            return 0
        found = _estimate_unread(path, manifest)
        if found == 0:
            with self._lock:
                self._in_memory[path] = now
                if len(self._in_memory) > PARSED:
                    del self._in_memory[next(iter(self._in_memory))]
        return found

    def _free_disk(self, record: ContainerRecord) -> int | None:
        """Of the file system that the snapshotter keeps writable layers on: one for all containers."""
        try:
            snapshots = self._snapshots.get(record.snapshotter) or self._find_snapshots(record)
            found = os.statvfs(snapshots) if snapshots else None
        except (ContainerdError, OSError):
            self._snapshots.pop(record.snapshotter, None)
            return None
        return found.f_bavail * found.f_frsize if found else None

    def _find_snapshots(self, record: ContainerRecord) -> str | None:
        """The directory above this container's own, whose upper directory is DIRECTORY/NUMBER/fs."""
        for mount in self._containerd.rootfs_mounts(record):
            for option in mount.options:
                if option.startswith("upperdir="):
                    own = os.path.dirname(option.removeprefix("upperdir="))
                    self._snapshots[record.snapshotter] = os.path.dirname(own)
        return self._snapshots.get(record.snapshotter)


def _unusable(entry: Entry, reason: Reason) -> Candidate:
    created = datetime.fromtimestamp(entry.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Candidate(entry.id, created, Verdict((reason,), None))


def _is_complete(path: str, manifest: Manifest) -> bool:
    """Presence only: sizes and digests are looked at once more by the runtime, under its lease."""
    return all(os.path.lexists(f"{path}/{name}") for name in manifest.files)


def _estimate_unread(path: str, manifest: Manifest) -> int | None:
    try:
        return sum(
            pagecache.estimated_uncached_bytes(f"{path}/{name}")
            for name, file in manifest.files.items()
            if file.kind in ("pages", "memory")
        )
    except OSError:
        return None
