"""The agent's index in memory: which checkpoints a namespace may use, by workload key.

A published checkpoint never changes, so each manifest is read once; what came and went is seen by listing one
directory, which for a thousand checkpoints costs less than a millisecond. What changes (quarantine, pins) is
not kept here: ask the store about the few candidates.
"""

import os
import stat
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from glowplug.cache import check, facts, layout
from glowplug.errors import CacheError

AHEAD_S = 300.0
"""Two clocks of one moment, or one that is being set, may differ by so much."""

_YEAR_10000 = 253_402_300_800  # seconds since the epoch; datetime ends before it


@dataclass(frozen=True, slots=True)
class Entry:
    """One published checkpoint, as far as the store knows it.

    namespace and key_digest are None where the manifest does not say them or can't be read (unreadable says why):
    such a checkpoint is kept and shown, and found for nobody. created: seconds since the epoch. rules: version of the
    matching rules that made its key; image, container: of what was captured. salt, namespace_uid: which salt made its
    hashes, and the one of its namespace's uid.
    """

    id: str
    namespace: str | None
    key_digest: str | None
    shared: bool
    created: float
    unreadable: str | None = None
    rules: int | None = None
    image: str = ""
    container: str = ""
    salt: str = ""
    namespace_uid: str = ""

    def made(self, now: float) -> float:
        """`created`, or 0 where that is still to come: a clock was ahead, and such a one is not the newest forever."""
        return self.created if self.created <= now + AHEAD_S else 0.0

    def serves(self, namespace: str, accepts: frozenset[str] = frozenset()) -> bool:
        """Whether a pod of that Kubernetes namespace may use it, or hear of it.

        `accepts`: the other namespaces whose shared ones it takes (docs/matching.md, rule 7.1).
        """
        if self.namespace is None or not namespace:
            return False
        return self.namespace == namespace or (self.shared and self.namespace in accepts)


class Index:
    """Finds checkpoints. Safe to be called from several threads."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._by_key: dict[str, set[str]] = defaultdict(set)
        self._unreadable: set[str] = set()  # read again each time: lack of descriptors passes, say

    def find(self, namespace: str, key_digest: str, accepts: frozenset[str] = frozenset()) -> list[Entry]:
        """Checkpoints with that workload key that the namespace may use: its own first, of each the newest first."""
        with self._lock:
            self._refresh()
            found = [self._entries[name] for name in self._by_key.get(key_digest, ())]
        return _own_first(found, namespace, accepts)

    def of_namespace(self, namespace: str, accepts: frozenset[str] = frozenset()) -> list[Entry]:
        """All checkpoints that the namespace may use, in the same order."""
        return _own_first(self.all(), namespace, accepts)

    def of_other_rules(self, namespace: str, image: str, container: str, rules: int) -> Entry | None:
        """The newest checkpoint of such a container in the namespace; None where one's key these rules made."""
        with self._lock:
            self._refresh()
            found = [
                one
                for one in self._entries.values()
                if (one.namespace, one.image, one.container) == (namespace, image, container)
            ]
        return (
            None
            if any(one.rules in (None, rules) for one in found)
            else next(iter(_newest_first(found)), None)
        )

    def all(self) -> list[Entry]:
        """All checkpoints of the store, the newest first."""
        with self._lock:
            self._refresh()
            return _newest_first(self._entries.values())

    def get(self, checkpoint_id: str) -> Entry | None:
        """One checkpoint; None when the store has none of that name."""
        with self._lock:
            self._refresh()
            return self._entries.get(checkpoint_id)

    def _refresh(self) -> None:
        try:
            present = set(os.listdir(layout.checkpoints(self._root)))
        except OSError as error:
            raise CacheError(f"the store can't be listed: {error}") from error
        for name in (self._entries.keys() - present) | self._unreadable:
            self._forget(name)
        for name in present - self._entries.keys():
            if layout.is_id(name):
                self._learn(name)

    def _learn(self, name: str) -> None:
        try:
            entry = _read(self._root, name)
        except (FileNotFoundError, NotADirectoryError):  # removed since it was listed; no checkpoint at all
            return
        self._entries[name] = entry
        if entry.unreadable is not None:
            self._unreadable.add(name)
        if entry.key_digest is not None:
            self._by_key[entry.key_digest].add(name)

    def _forget(self, name: str) -> None:
        entry = self._entries.pop(name)
        self._unreadable.discard(name)
        if entry.key_digest is not None:
            self._by_key[entry.key_digest].discard(name)
            if not self._by_key[entry.key_digest]:
                del self._by_key[entry.key_digest]


def _read(root: str, name: str) -> Entry:
    """The entry of a checkpoint; one that serves nobody when its manifest is no manifest. Raises OSError."""
    found = os.lstat(layout.checkpoint(root, name))
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(name)
    published = found.st_mtime
    try:
        manifest = facts.read(root, name)
        check.check_name(name, manifest)
        parsed = facts.parse(manifest)
        version, image = facts.rules(parsed)
        salt, namespace_uid = facts.owner(parsed)
    except CacheError as error:
        return Entry(name, None, None, False, published, str(error))
    return Entry(
        id=name,
        namespace=facts.namespace(parsed),
        key_digest=facts.key_digest(parsed),
        shared=facts.is_shared(parsed),
        created=_seconds(parsed.get("created"), published),
        rules=version,
        image=image,
        container=facts.container(parsed),
        salt=salt,
        namespace_uid=namespace_uid,
    )


def _seconds(created: object, otherwise: float) -> float:
    """A manifest's "created" as seconds since the epoch: a number of them, or RFC 3339 text; none that no date has."""
    try:
        if isinstance(created, str):
            moment = datetime.fromisoformat(created)
            found = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        elif isinstance(created, int | float):
            found = float(created)
        else:
            return otherwise
    except (ValueError, OverflowError):
        return otherwise
    return found if 0 <= found < _YEAR_10000 else otherwise


def _own_first(entries: Iterable[Entry], namespace: str, accepts: frozenset[str]) -> list[Entry]:
    """Who judges only so many of them must not have the namespace's own pushed out by another's."""
    usable = _newest_first(entry for entry in entries if entry.serves(namespace, accepts))
    return sorted(usable, key=lambda entry: entry.namespace != namespace)


def _newest_first(entries: Iterable[Entry]) -> list[Entry]:
    now = time.time()
    return sorted(entries, key=lambda entry: (-entry.made(now), entry.id))
