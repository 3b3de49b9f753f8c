"""Steps that a signal must not leave half done.

An interrupt within `subprocess.Popen` loses the program that was just started: it goes on, and nobody waits for it.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_STOPS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred() -> Iterator[None]:
    """SIGINT and SIGTERM of this time are handled at its end, by the handlers of before.

    Those that are ignored or end the process by themselves stay as they are. Of use in the main thread; in others no
    handler of Python's runs (signal(7), and Python's signal module).
    """
    came: list[int] = []
    before = _replaced({number: lambda number, _: came.append(number) for number in _STOPS})
    try:
        yield
    finally:
        _replaced(before)
        for number in came:
            signal.raise_signal(number)


Handler = Callable[[int, FrameType | None], object]


def _replaced(handlers: "dict[signal.Signals, Handler]") -> "dict[signal.Signals, Handler]":
    """The handlers that these replace, all at one moment. None in a thread that may set none."""
    found: dict[signal.Signals, Handler] = {}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        for number, handler in handlers.items():
            earlier = signal.getsignal(number)
            if callable(earlier):
                signal.signal(number, handler)
                found[number] = earlier
    except ValueError:
        return {}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return found
