"""Signals that end the demo: taken at once while it works, and never while it puts things away."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal requested the end. No Exception: nothing but the outermost caller may take it for an error."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interruptions:
    """Raises Interrupted once, in the main thread, and only within `allowed`.

    A signal that comes outside is kept and raised at the next `allowed`; further ones change nothing. Handlers
    are in place of ignored signals, so that programs started meanwhile have the default actions.
    """

    def __init__(self) -> None:
        self._allowed = False
        self._pending: int | None = None
        for number in ENDING:
            signal.signal(number, self._take)

    @property
    def pending(self) -> int | None:
        """The signal that came and was not raised."""
        return self._pending

    @contextlib.contextmanager
    def allowed(self) -> Iterator[None]:
        """Within, a signal raises Interrupted."""
        self._allowed = True
        try:
            self._raise_pending()
            yield
        finally:
            self._allowed = False

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self._pending is None:
            self._pending = number
        if self._allowed:
            self._raise_pending()

    def _raise_pending(self) -> None:
        if self._pending is not None:
            self._allowed = False
            raise Interrupted(self._pending)
