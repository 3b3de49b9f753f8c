"""What changes about a checkpoint, beside it: pin, quarantine, failures, early exits. One small file each.

A file that can't be read counts as pinned and quarantined: unknown is no match, and nothing is removed on a
guess.
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from glowplug.cache import disk, layout

T = TypeVar("T")

VERSION = 1
FOREVER = math.inf  # until cleared
EARLY_EXITS = 3  # that many restored containers in a row that exited early, and the checkpoint is at fault
FIRST_BACKOFF_S = 600.0  # seconds; doubles with each failure
LONGEST_BACKOFF_S = 86_400.0  # seconds
FOREVER_AFTER = 6  # failures in a row; then it takes `glowplug quarantine clear`
LOG_LINES = 20
LOG_LINE_LENGTH = 400


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Why a checkpoint is not to be used, and until when (seconds since the epoch; None: until cleared)."""

    reason: str
    log_tail: tuple[str, ...]
    since: float
    until: float | None


@dataclass(frozen=True, slots=True)
class State:
    """What the store remembers about one checkpoint besides its last use."""

    pinned: bool = False
    quarantine: Quarantine | None = None
    failures: int = 0
    early_exits: int = 0

    def quarantined(self, now: float) -> Quarantine | None:
        """The quarantine that is active now (seconds since the epoch)."""
        entry = self.quarantine
        return entry if entry and (entry.until is None or now < entry.until) else None


UNREADABLE = State(
    pinned=True,
    quarantine=Quarantine("its state can't be read; see `glowplug quarantine clear`", (), 0.0, None),
)


def read(root: str, checkpoint_id: str) -> State:
    """The checkpoint's state; a new one when there is no file, UNREADABLE when the file is no state."""
    try:
        with open(layout.state(root, checkpoint_id), "rb") as file:
            return _parse(json.load(file))
    except FileNotFoundError:
        return State()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return UNREADABLE


def write(root: str, checkpoint_id: str, state: State) -> None:
    """Replaces the checkpoint's state, completely and on the disk. Take the states' lock first. Raises OSError."""
    path = layout.state(root, checkpoint_id)
    content = json.dumps({"version": VERSION, **asdict(state)}, indent=1).encode()
    disk.write_file(f"{path}.new", content)
    os.rename(f"{path}.new", path)
    disk.sync(layout.states(root))


def quarantined(
    state: State, reason: str, log_tail: Sequence[str], now: float, until: float | None = None
) -> State:
    """The state after one more failure. until: seconds since the epoch; None: by the back-off."""
    failures = state.failures + 1
    end = now + backoff_s(failures) if until is None else float(until)
    quarantine = Quarantine(
        reason=reason,
        log_tail=tuple(line[:LOG_LINE_LENGTH] for line in log_tail[-LOG_LINES:]),
        since=float(now),
        until=None if end == FOREVER else end,
    )
    return replace(state, quarantine=quarantine, failures=failures, early_exits=0)


def backoff_s(failures: int) -> float:
    """How long a checkpoint rests after that many failures in a row, in seconds, or FOREVER."""
    if failures >= FOREVER_AFTER:
        return FOREVER
    return min(FIRST_BACKOFF_S * 2.0 ** (failures - 1), LONGEST_BACKOFF_S)


def _parse(found: object) -> State:
    """The state in a file's JSON. Raises ValueError, KeyError or TypeError for anything else."""
    fields = _typed(found, dict)
    if fields["version"] != VERSION:
        raise ValueError("a state of another version")
    entry = fields["quarantine"]
    return State(
        pinned=_typed(fields["pinned"], bool),
        quarantine=None if entry is None else _parse_quarantine(_typed(entry, dict)),
        failures=_typed(fields["failures"], int),
        early_exits=_typed(fields["early_exits"], int),
    )


def _parse_quarantine(fields: dict[str, object]) -> Quarantine:
    return Quarantine(
        reason=_typed(fields["reason"], str),
        log_tail=tuple(_typed(line, str) for line in _typed(fields["log_tail"], list)),
        since=_typed(fields["since"], float),
        until=None if fields["until"] is None else _typed(fields["until"], float),
    )


def _typed(value: object, wanted: type[T]) -> T:
    if not isinstance(value, wanted):
        raise TypeError(f"expected {wanted.__name__}")
    return value
