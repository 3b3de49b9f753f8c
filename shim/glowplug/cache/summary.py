"""Checkpoints as rows for a person: what `glowplug list` and `inspect` show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from glowplug.cache import lease

if TYPE_CHECKING:
    from glowplug.cache.index import Entry
    from glowplug.cache.store import Store


@dataclass(frozen=True, slots=True)
class Row:
    """One checkpoint. Times in seconds since the epoch, bytes on the disk.

    quarantine: why it is set apart at this moment, or None; quarantined_until: None with a reason means until
    cleared. unreadable: why its manifest can't be read, or None.
    """

    id: str
    namespace: str | None
    key_digest: str | None
    shared: bool
    created: float
    last_used: float
    bytes: int
    pinned: bool
    in_use: bool
    quarantine: str | None
    quarantined_until: float | None
    unreadable: str | None


def row(store: Store, entry: Entry) -> Row:
    """The row of one checkpoint of the store, at this moment."""
    found = store.state(entry.id)
    quarantine = found.quarantined(store.now())
    return Row(
        id=entry.id,
        namespace=entry.namespace,
        key_digest=entry.key_digest,
        shared=entry.shared,
        created=entry.created,
        last_used=store.last_used(entry.id),
        bytes=store.size(entry.id),
        pinned=found.pinned,
        in_use=lease.is_held(store.root, entry.id),
        quarantine=quarantine.reason if quarantine else None,
        quarantined_until=quarantine.until if quarantine else None,
        unreadable=entry.unreadable,
    )
