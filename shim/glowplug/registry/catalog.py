"""What this node may serve to others at this moment, and the bytes of it.

Served is what was pushed or pulled while `serve` was set, is in the cache, is not quarantined, and is of a pod whose
policy lets it leave the node. Looked at again every REFRESH_S.
"""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from glowplug.cache import facts, lease
from glowplug.cache.store import Store
from glowplug.errors import GlowplugError
from glowplug.registry import kept, names, policy, rebuilding
from glowplug.registry.kept import Kept
from glowplug.registry.rebuilding import Source
from glowplug.registry.settings import RegistrySettings

REFRESH_S = 2.0
SOURCES = 4
PACK_BYTES = 64 << 20
"""Of packs in memory that were made last: nodes of a burst want the same ones. A larger one is made each time."""


class Catalog:
    """Thread-safe."""

    def __init__(self, store: Store, settings: RegistrySettings) -> None:
        self._store = store
        self._settings = settings
        self._lock = threading.Lock()
        self._looked = -REFRESH_S
        self._serving: dict[str, Kept] = {}
        self._sources: OrderedDict[str, Source] = OrderedDict()
        self._packs: OrderedDict[str, bytearray] = OrderedDict()
        self._making = threading.Lock()

    def manifest(self, path: str, reference: str) -> bytes | None:
        """By tag or digest; None where it is not served. `path`: of the repository."""
        for one in self._of(path):
            if reference in (one.digest, *one.artifact.tags):
                return one.manifest
            if reference in (names.signature_tag(one.digest), names.digest(one.signatures)):
                return one.signatures
        return None

    def blob_size(self, path: str, digest: str) -> int | None:
        """Bytes of a blob, as far as it may be served; None where it is not. Raises OSError."""
        for one in self._of(path):
            small = one.small_blob(digest)
            if small is not None:
                return len(small)
            for pack in one.artifact.packs:
                if pack.digest == digest:
                    return pack.size
        return None

    def blob(self, path: str, digest: str) -> bytes | bytearray | None:
        """A blob's bytes; None where it is not served, or can't be made any more. Raises OSError."""
        serving = self._of(path)
        for one in serving:
            small = one.small_blob(digest)
            if small is not None:
                return small
        having = [one for one in serving if any(pack.digest == digest for pack in one.artifact.packs)]
        if not having:  # also where the pack is in memory, for another namespace
            return None
        with self._lock:
            if digest in self._packs:
                self._packs.move_to_end(digest)
                return self._packs[digest]
        with self._making:  # one at a time: who wants the same one finds it made
            with self._lock:
                if digest in self._packs:
                    return self._packs[digest]
            made = self._made(digest, having)
        if made is not None:
            self._remember(digest, made)
        return made

    def _made(self, digest: str, having: list[Kept]) -> bytearray | None:
        """A part of the pack may be in one checkpoint, the rest in another."""
        size = next(pack.size for one in having for pack in one.artifact.packs if pack.digest == digest)
        with self._leased(having) as leased:
            try:
                pieces = [piece for one in leased for piece in self._source(one).pieces(digest)]
                made = rebuilding.pack(size, pieces)
            except GlowplugError:
                return None
        return made if names.digest(made) == digest else None

    def _source(self, one: Kept) -> Source:
        """Indexes of large checkpoints take memory: those that were requested last stay. Take `_making` first."""
        source = self._sources.pop(one.digest, None) or Source(self._store.path(one.checkpoint), one.index())
        self._sources[one.digest] = source
        while len(self._sources) > SOURCES:
            self._sources.popitem(last=False)
        return source

    @contextmanager
    def _leased(self, having: list[Kept]) -> Iterator[list[Kept]]:
        """Those that are still there, for as long as they are read; that counts as no use of them."""
        descriptors = []
        leased = []
        try:
            for one in having:
                with suppress(GlowplugError):
                    used = self._store.last_used(one.checkpoint)
                    descriptors.append(lease.take(self._store.root, one.checkpoint))
                    os.utime(descriptors[-1], (used, used))
                    leased.append(one)
            yield leased
        finally:
            for descriptor in descriptors:
                lease.release(descriptor)

    def _remember(self, digest: str, made: bytearray) -> None:
        with self._lock:
            self._packs[digest] = made
            while sum(map(len, self._packs.values())) > PACK_BYTES:
                self._packs.popitem(last=False)

    def _of(self, path: str) -> list[Kept]:
        """What is served of a repository, the newest first."""
        self._refresh()
        with self._lock:
            return sorted(
                (
                    one
                    for one in self._serving.values()
                    if self._settings.path(one.artifact.annotations[names.NAMESPACE]) == path
                ),
                key=lambda one: -one.artifact.pushed,
            )

    def _refresh(self) -> None:
        with self._lock:
            if time.monotonic() - self._looked < REFRESH_S:
                return
            self._looked = time.monotonic()
            there = set(self._store.ids())
            kept.forget(self._store.root, there)
            found: dict[str, Kept] = {}
            for checkpoint in kept.checkpoints(self._store.root):
                one = kept.load(self._store.root, checkpoint)
                if one is not None and self._may_be_served(one):
                    found[checkpoint] = one
            self._serving = found
            wanted = {pack.digest for one in found.values() for pack in one.artifact.packs}
            for digest in set(self._packs) - wanted:
                del self._packs[digest]

    def _may_be_served(self, one: Kept) -> bool:
        try:
            manifest = facts.parse(self._store.manifest(one.checkpoint))
            if self._store.state(one.checkpoint).quarantined(self._store.now()) is not None:
                return False
        except GlowplugError:
            return False
        said = manifest.get("settings")
        annotations = (
            {str(name): str(value) for name, value in said.items()} if isinstance(said, dict) else {}
        )
        is_its_own = manifest.get("namespace") == one.artifact.annotations[names.NAMESPACE]
        return is_its_own and policy.may_leave(self._settings, annotations)
