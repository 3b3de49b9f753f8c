"""Checkpoints whose namespace was deleted: they contain the memory of processes, secrets too, that is nobody's now.

The API server's list of namespaces says which there are (capture/namespaces.py); where the agent may not list them,
nobody says, and such checkpoints go by their age. A list may be behind for a moment, so one goes only when it has
been nobody's for PATIENCE_S, by a clock that nobody sets. A pinned one stays: somebody wants it.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping

from glowplug.cache.index import Entry
from glowplug.cache.store import Store
from glowplug.capture import namespaces
from glowplug.checkpoint import key
from glowplug.errors import CacheError

log = logging.getLogger("glowplug.agent")

PATIENCE_S = 1200.0
"""Two lists."""
FRESH_S = 1800.0
"""An older list is of an API server that can't be reached."""


class DeletedNamespaces:
    """`salt`: of the node's or fleet's keys."""

    def __init__(self, store: Store, salt: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._salt = salt
        self._clock = clock
        self._since: dict[str, float] = {}

    def remove(self) -> None:
        """One round. A failure is logged and tried again in the next. Raises CacheError where nothing can be read."""
        known, now = namespaces.known(FRESH_S), self._clock()
        found = dict(self._nobodys(known)) if known else {}
        self._since = {id: self._since.get(id, now) for id in found}
        for id, why in found.items():
            if now - self._since[id] < PATIENCE_S or self._store.state(id).pinned:
                continue
            try:
                self._store.remove(id)
                log.info("removed checkpoint %s: %s", id, why)
            except CacheError as error:
                log.info("%s", error)

    def _nobodys(self, known: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """The id of each, and why."""
        for entry in self._store.index.all():
            if entry.namespace is None:
                continue
            if entry.namespace not in known:
                yield entry.id, f"its namespace {entry.namespace} was deleted"
            elif self._is_of_another(entry, known[entry.namespace]):
                yield entry.id, f"its namespace {entry.namespace} was deleted and made again"

    def _is_of_another(self, entry: Entry, uid: str) -> bool:
        """Rule 7.2, where it was captured under a uid and by keys of this salt."""
        if not entry.namespace_uid or entry.salt != key.keyed(self._salt, "salt")[:16]:
            return False
        return entry.namespace_uid != key.keyed(self._salt, "namespace", uid)
