"""Containers between their making and their start: looked up once, for all in the agent that ask about a start.

A burst of pods is when processor time is short, and each call to containerd costs both sides some.
"""

import threading

from glowplug.containerd.client import Containerd
from glowplug.containerd.events import Event
from glowplug.containerd.records import ContainerRecord

FOREIGN = 10_000
RECORDS = 256
"""Kept at most; what is not, is asked for again."""


class Newcomers:
    """Thread-safe."""

    def __init__(self, containerd: Containerd) -> None:
        self._containerd = containerd
        self._lock = threading.Lock()
        self._foreign: dict[str, None] = {}
        self._records: dict[str, ContainerRecord] = {}

    def created(self, event: Event) -> None:
        """/containers/create."""
        if event.is_ours is False:
            with self._lock:
                self._foreign[event.container_id] = None
                _shorten(self._foreign, FOREIGN)

    def deleted(self, event: Event) -> None:
        """/containers/delete."""
        with self._lock:
            self._foreign.pop(event.container_id, None)
            self._records.pop(event.container_id, None)

    def is_foreign(self, container: str) -> bool:
        """Whether it is known to be of another handler."""
        with self._lock:
            return container in self._foreign

    def record(self, container: str) -> ContainerRecord:
        """Of a container that was made just now. Raises NotFound, ContainerdError."""
        found = self._containerd.container(container)
        with self._lock:
            self._records[container] = found
            _shorten(self._records, RECORDS)
        return found

    def take(self, container: str) -> ContainerRecord:
        """Of a container that was started: as it was when it was made, where that is known. NotFound,
        ContainerdError."""
        with self._lock:
            known = self._records.pop(container, None)
        return known or self._containerd.container(container)


def _shorten(entries: dict[str, None] | dict[str, ContainerRecord], kept: int) -> None:
    while len(entries) > kept:
        del entries[next(iter(entries))]
