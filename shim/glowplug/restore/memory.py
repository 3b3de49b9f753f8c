"""Memory that a capture moved out of CRIU's images: got ready while CRIU works, written while it takes its last stages.

Used by the runtime: standard library only.
"""

from __future__ import annotations

import time
from contextlib import contextmanager

from glowplug.criu import fill, forced
from glowplug.errors import NotForced
from glowplug.host import process
from glowplug.restore import progress

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from glowplug.criu.action_script import Gate


class Memory:
    """All extents of a checkpoint, on their way into a restored tree. `close` on every way out."""

    def __init__(self, checkpoint: str, reported: str, until: float, by_force: bool = False) -> None:
        """checkpoint: its directory. reported: the file for (bytes done, bytes in all). until: time.monotonic() at
        which to give up. by_force: CRIU leaves out what is written by force. Raises ImageError, CriuError."""
        self._reported = reported
        self._until = until
        self._writing: fill.Writing | None = None
        self._counted = 0.0
        self._extents = fill.Fill(f"{checkpoint}/memory", f"{checkpoint}/images" if by_force else None)
        self.bytes = 0
        """Of memory, once all of it is written."""

    def begin(self, gate: Gate, is_over: Callable[[], bool], urgent: Collection[int]) -> None:
        """Wait until the tree is made, and begin to write; nothing is written where CRIU fails before.

        is_over: whether `runc restore` has ended. urgent: the processes, by their pids in the container, whose memory
        is needed first. Raises CriuError.
        """
        init = gate.wait_made(self._until, is_over)
        if init is None:
            return
        self._counted = time.monotonic()
        self._writing = self._extents.begin(process.members(init), self._until, urgent)

    def wait_urgent(self) -> None:
        """Until the urgent processes have all of theirs, and all that may be shared is there. Raises ImageError,
        CriuError."""
        if self._writing is not None:
            with _refusal_noted():
                self._writing.wait_urgent(self._report)

    def wait(self) -> None:
        """Until all is written. Raises ImageError, CriuError."""
        if self._writing is not None:
            with _refusal_noted():
                self.bytes = self._writing.wait(self._report).bytes

    def spent(self) -> float:
        """Seconds in which it was being written, since the last call or since `begin`."""
        if self._writing is None:
            return 0.0
        since, self._counted = self._counted, max(self._counted, self._writing.ended or time.monotonic())
        return self._counted - since

    def close(self) -> None:
        """No thread is left writing."""
        try:
            if self._writing is not None:
                self._writing.__exit__()
        finally:
            self._extents.__exit__()

    def _report(self, done: int, total: int) -> None:
        try:
            progress.report(self._reported, done, total)
        except OSError:
            return  # a run directory that is full costs no restore


@contextmanager
def _refusal_noted() -> Iterator[None]:
    """One restore that fails since this node takes no write by force is enough."""
    try:
        yield
    except NotForced:
        forced.refused()
        raise
