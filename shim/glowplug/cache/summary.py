"""Checkpoints as rows for a person: what `glowplug list` and `inspect` show."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One checkpoint. Times in seconds since the epoch, bytes on the disk.

    quarantine: why it is quarantined at this moment, or None; quarantined_until: None with a reason means until
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
