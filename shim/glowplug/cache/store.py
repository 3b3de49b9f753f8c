"""The store: checkpoints come in complete, are found, kept, quarantined and removed. On the agent's side.

Many readers and one writer at a time, across processes and threads; whatever dies wherever, what is in
checkpoints/ is complete, and sweep() takes the rest away. Every failure is a CacheError.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from glowplug.cache import (
    check,
    compile_caches,
    disk,
    draft,
    evict,
    facts,
    layout,
    lease,
    locking,
    renames,
    root_dir,
    state,
    sweep,
)
from glowplug.cache.draft import Draft
from glowplug.cache.evict import Eviction, Limits
from glowplug.cache.index import Entry, Index
from glowplug.cache.integrity import problems, require_intact
from glowplug.cache.state import State
from glowplug.cache.summary import Row
from glowplug.errors import CacheError, DamagedCheckpoint

_MARGIN = 1 << 20  # bytes; for the manifest and the directories of a draft


class Store:
    """One directory of checkpoints. index finds them by workload key."""

    def __init__(self, root: str, limits: Limits | None = None, now: Callable[[], float] = time.time) -> None:
        self.root = root
        self.limits = limits or Limits()
        self.index = Index(root)
        self.now = now
        self._sizes: dict[str, int] = {}
        self._aged_since: dict[str, float] = {}
        with _reported(f"store {root}"):
            root_dir.prepare(root)

    # -- what is there --

    def ids(self) -> list[str]:
        """All published checkpoints, sorted."""
        return sorted(entry.id for entry in self.index.all())

    def path(self, checkpoint_id: str) -> str:
        """The checkpoint's directory. Raises CacheError when it is not there."""
        path = layout.checkpoint(self.root, checkpoint_id)
        if not os.path.isdir(path):
            raise CacheError(f"no checkpoint {checkpoint_id} in {self.root}; see `glowplug list`")
        return path

    def manifest(self, checkpoint_id: str) -> bytes:
        """The manifest's bytes, those that gave the checkpoint its name.

        Raises CacheError when it is not there, DamagedCheckpoint when they are others.
        """
        self.path(checkpoint_id)
        manifest = facts.read(self.root, checkpoint_id)
        check.check_name(checkpoint_id, manifest)
        return manifest

    def state(self, checkpoint_id: str) -> State:
        """Pin, quarantine, failures, early exits."""
        return state.read(self.root, checkpoint_id)

    def last_used(self, checkpoint_id: str) -> float:
        """Of the last lease, or of its publication; seconds since the epoch. 0.0 when it is not there."""
        for path in (layout.lease(self.root, checkpoint_id), layout.checkpoint(self.root, checkpoint_id)):
            try:
                return os.lstat(path).st_mtime
            except FileNotFoundError:
                continue
        return 0.0

    def size(self, checkpoint_id: str) -> int:
        """What the checkpoint takes on the disk; 0 when it is not there."""
        found = self._sizes.get(checkpoint_id) or disk.usage(layout.checkpoint(self.root, checkpoint_id))
        self._sizes[checkpoint_id] = found
        return found

    def rows(self) -> list[Row]:
        """All checkpoints, the newest first."""
        return [self._row(entry) for entry in self.index.all()]

    def row(self, checkpoint_id: str) -> Row:
        """One checkpoint. Raises CacheError when it is not there."""
        self.path(checkpoint_id)
        entry = self.index.get(checkpoint_id)
        if entry is None:
            raise CacheError(f"checkpoint {checkpoint_id} was removed a moment ago")
        return self._row(entry)

    def verify(self, checkpoint_id: str) -> list[str]:
        """What is wrong with the checkpoint, read in full, one line each; nothing when it is intact.

        Raises UnknownDigest where that can't be known: a newer Glowplug wrote it.
        """
        used = self.last_used(checkpoint_id)
        descriptor = lease.take(self.root, checkpoint_id)
        try:
            os.utime(descriptor, (used, used))  # to look at it is no use of it
            manifest = facts.read(self.root, checkpoint_id)
            return problems(self.path(checkpoint_id), checkpoint_id, manifest)
        except DamagedCheckpoint as error:
            return [str(error)]
        finally:
            lease.release(descriptor)

    def salt(self) -> bytes:
        """The key of this store's keyed hashes: 32 random bytes, drawn once."""
        with _reported("the store's salt"), locking.locked(layout.store_lock(self.root)):
            return root_dir.salt(self.root)

    # -- what comes in --

    def draft(self, bytes_needed: int) -> Draft:
        """Space for a checkpoint of that size, least recently used ones evicted for it, and where to write it.

        Raises CacheError with the numbers, and evicts nothing, when it can't fit.
        """
        with _reported("no draft"):
            self.sweep()
            with locking.locked(layout.store_lock(self.root)):
                size = bytes_needed + _MARGIN
                self._make_space(size, size, besides="")
                return draft.create(self.root, size)

    def resume(self, name: str, bytes_needed: int) -> Draft:
        """The draft of that name, with what a killed writer left in it, and space for the rest of those bytes.

        `name` begins with draft.KEPT. Raises CacheError: it can't fit, or is being written by another process.
        """
        with _reported("no draft"):
            self.sweep()
            with locking.locked(layout.store_lock(self.root)):
                opened = draft.reopen(self.root, name, bytes_needed + _MARGIN)
                try:
                    left = max(0, opened.bytes_needed - disk.usage(opened.path))
                    self._make_space(opened.bytes_needed, left, besides=name)
                except BaseException:
                    opened.leave()
                    raise
                return opened

    def publish(self, opened: Draft, manifest: bytes) -> str:
        """Makes the draft a checkpoint, once all of it is as its manifest says and on the disk; its id.

        Where the store has it already, the draft is dropped. Raises DamagedCheckpoint when the draft is not
        intact, CacheError when it does not fit or can't be written; it is still there then, to be abandoned.
        """
        checkpoint_id = check.checkpoint_id(manifest)
        facts.require(manifest)
        with _reported(f"checkpoint {checkpoint_id} can't be published"):
            disk.write_file(f"{opened.path}/{layout.MANIFEST}", manifest)
            disk.make_private(opened.path)
            require_intact(opened.path, checkpoint_id, manifest)
            disk.sync_tree(opened.path)
            with locking.locked(layout.store_lock(self.root)):
                if not os.path.isdir(layout.checkpoint(self.root, checkpoint_id)):
                    self._make_space(disk.usage(opened.path), 0, besides=opened.name)
                    renames.commit(self.root, opened, checkpoint_id)
            opened.abandon()
        return checkpoint_id

    def keep_compile_cache(self, opened: Draft, name: str) -> None:
        """The pack that is in the draft as `name`, and is on the disk, takes its place. Raises CacheError."""
        with _reported("a compile cache can't be kept"), locking.locked(layout.store_lock(self.root)):
            compile_caches.commit(self.root, f"{opened.path}/{name}", name)
            opened.abandon()

    # -- what changes about it --

    def pin(self, checkpoint_id: str) -> None:
        """Keeps it from being evicted until it is unpinned; `remove` still removes it."""
        self._change(checkpoint_id, lambda found: replace(found, pinned=True))

    def unpin(self, checkpoint_id: str) -> None:
        """Lets it be evicted again."""
        self._change(checkpoint_id, lambda found: replace(found, pinned=False))

    def quarantine(
        self, checkpoint_id: str, reason: str, log_tail: Sequence[str] = (), until: float | None = None
    ) -> State:
        """Quarantines it after a failure of its own, with the last lines of CRIU's log; its new state.

        until: seconds since the epoch, or state.FOREVER (until cleared: for damage, which does not heal);
        None: by the back-off, which doubles with each failure in a row.
        """
        return self._change(
            checkpoint_id, lambda found: state.quarantined(found, reason, log_tail, self.now(), until)
        )

    def clear_quarantine(self, checkpoint_id: str) -> None:
        """Makes it usable again, its failures and early exits forgotten."""
        self._change(checkpoint_id, lambda found: replace(found, quarantine=None, failures=0, early_exits=0))

    def early_exit(self, checkpoint_id: str) -> State:
        """Counts a restored container that exited early; with the third in a row it is quarantined."""
        return self._change(checkpoint_id, self._one_early_exit)

    def proved(self, checkpoint_id: str) -> None:
        """A restored container lived on: failures and early exits start from nothing again."""
        found = self.state(checkpoint_id)
        if found.failures or found.early_exits:
            self._change(checkpoint_id, lambda found: replace(found, failures=0, early_exits=0))

    # -- what goes --

    def remove(self, checkpoint_id: str) -> None:
        """Removes it. Raises CacheError when it is not there or in use; a pin does not keep it."""
        self.path(checkpoint_id)
        with _reported(f"checkpoint {checkpoint_id} can't be removed"):
            with locking.locked(layout.store_lock(self.root)):
                trashed = renames.evict(self.root, checkpoint_id)
            if trashed is not None:
                disk.delete(trashed)
            elif os.path.isdir(layout.checkpoint(self.root, checkpoint_id)):
                raise CacheError(f"checkpoint {checkpoint_id} is in use; try again when it is not")

    def gc(self, dry_run: bool = False, patience_s: float = 0.0) -> list[Eviction]:
        """Removes what is over the limits; (id, why, bytes) of each. dry_run: only says so.

        patience_s: what is too old goes only when it has been so for that long, by a clock that nobody sets: the
        node's may be wrong for a while.
        """
        with _reported("the store can't be tidied"):
            if dry_run:
                return self._plan()
            self.sweep()
            removed = []
            for eviction in self._patient(self._plan(), patience_s):
                with locking.locked(layout.store_lock(self.root)):
                    trashed = self._evict(eviction[0])
                if trashed is not None:
                    disk.delete(trashed)
                    removed.append(eviction)
            return removed

    def _patient(self, evictions: list[Eviction], patience_s: float) -> list[Eviction]:
        now = time.monotonic()
        aged = {one[0] for one in evictions if evict.is_for_age(one)}
        self._aged_since = {id: self._aged_since.get(id, now) for id in aged}
        return [
            one for one in evictions if one[0] not in aged or now - self._aged_since[one[0]] >= patience_s
        ]

    def sweep(self) -> list[str]:
        """Takes away what killed writers left; a line for each thing."""
        with _reported("the store can't be swept"):
            with locking.locked(layout.store_lock(self.root)):
                dead = [f"draft {name}" for name in sweep.drafts(self.root)]
                gone = sweep.orphans(self.root)
            return dead + gone + sweep.empty_trash(self.root)

    # -- steps; those under the store's lock say so --

    def _make_space(self, size: int, to_write: int, besides: str) -> None:
        """Evicts until size more bytes fit. Under the store's lock. Raises CacheError, nothing evicted."""
        while evictions := evict.make_space(self._items(), self.limits, self._space(besides), size, to_write):
            for evicted, _, _ in evictions:
                trashed = self._evict(evicted)
                if trashed is not None:
                    disk.delete(trashed)

    def _evict(self, evicted: str) -> str | None:
        """As renames.evict, which spares pinned ones. Under the store's lock."""
        if compile_caches.is_compile_cache(evicted):
            return compile_caches.evict(self.root, evicted)
        return renames.evict(self.root, evicted, spare_pinned=True)

    def _change(self, checkpoint_id: str, change: Callable[[State], State]) -> State:
        """Reads the state, changes it, writes it, with no other writer between."""
        with _reported(f"checkpoint {checkpoint_id}"), locking.locked(layout.state_lock(self.root)):
            self.path(checkpoint_id)
            found = state.read(self.root, checkpoint_id)
            changed = change(found)
            if changed != found:
                state.write(self.root, checkpoint_id, changed)
            return changed

    def _row(self, entry: Entry) -> Row:
        """At this moment."""
        found = self.state(entry.id)
        quarantine = found.quarantined(self.now())
        return Row(
            id=entry.id,
            namespace=entry.namespace,
            key_digest=entry.key_digest,
            shared=entry.shared,
            created=entry.created,
            last_used=self.last_used(entry.id),
            bytes=self.size(entry.id),
            pinned=found.pinned,
            in_use=lease.is_leased(self.root, entry.id),
            quarantine=quarantine.reason if quarantine else None,
            quarantined_until=quarantine.until if quarantine else None,
            unreadable=entry.unreadable,
        )

    def _one_early_exit(self, found: State) -> State:
        exits = found.early_exits + 1
        if exits < state.EARLY_EXITS:
            return replace(found, early_exits=exits)
        reason = f"{exits} restored containers in a row exited early"
        return state.quarantined(found, reason, (), self.now())

    def _plan(self) -> list[Eviction]:
        """Pins and leases only spare: while nothing is over the limits without them, none is looked at."""
        space, now = self._space(""), self.now()
        if not evict.plan(self._unspared(), self.limits, space, now):
            return []
        return evict.plan(self._items(), self.limits, space, now)

    def _space(self, besides: str) -> evict.Space:
        promised = drafts = 0
        for reserved, written in draft.reservations(self.root, besides):
            promised += max(0, reserved - written)
            drafts += max(reserved, written)
        return evict.Space(disk.free(self.root), promised, drafts)

    def _items(self) -> Iterator[evict.Item]:
        for item in self._unspared():
            if compile_caches.is_compile_cache(item.id):
                yield item  # an open file is read to its end, even when its name is removed
                continue
            found = self.state(item.id)
            yield replace(
                item,
                pinned=found.pinned,
                leased=lease.is_leased(self.root, item.id),
                dead=found.quarantine is not None and found.quarantine.until is None,
            )

    def _unspared(self) -> Iterator[evict.Item]:
        """As if nothing were pinned, leased or quarantined: what is known of each without reading its files."""
        for entry in self.index.all():
            known = entry.namespace is not None and entry.key_digest is not None
            yield evict.Item(
                id=entry.id,
                bytes=self.size(entry.id),
                created=entry.made(self.now()),
                last_used=self.last_used(entry.id),
                workload=(str(entry.namespace), str(entry.key_digest)) if known else None,
            )
        yield from compile_caches.items(self.root)


@contextmanager
def _reported(what: str) -> Iterator[None]:
    """What the system refuses is an error of this package, with what was being done."""
    try:
        yield
    except OSError as error:
        raise CacheError(f"{what}: {error}") from error
