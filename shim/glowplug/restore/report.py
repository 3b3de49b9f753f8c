"""The outcome of an attempt, recorded once, when it ends.

Used by the runtime: standard library only.
"""

from glowplug.outcomes import spool
from glowplug.outcomes.outcome import Outcome
from glowplug.restore.attempt import Attempt


def once(ended: Attempt, outcome: Outcome) -> None:
    """A runtime that is killed right here may make two of it, never none. A trial is no start, and has no outcome."""
    if not ended.is_reported and not ended.journal.trial:
        spool.append({"container_id": ended.id, **ended.journal.start, **outcome.to_json()})
        ended.note_reported()
