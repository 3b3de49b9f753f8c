"""Signals: counted, and SIGTERM ends the program with a code of its own."""

import os
import signal
from types import FrameType

_counts = {"SIGUSR1": 0, "SIGHUP": 0}
TERMINATION_LOG = "/dev/termination-log"


def install() -> None:
    """From the main thread."""
    for name in _counts:
        signal.signal(getattr(signal, name), _count)
    signal.signal(signal.SIGTERM, _end)


def counts() -> dict[str, int]:
    """How often each came."""
    return dict(_counts)


def leave(code: int, message: str) -> None:
    """End the process at once, with a message for the kubelet where there is a file for it."""
    os.write(1, message.encode() + b"\n")
    if os.path.exists(TERMINATION_LOG):
        with open(TERMINATION_LOG, "w") as file:
            file.write(message)
    os._exit(code)


def _count(number: int, _: FrameType | None) -> None:
    _counts[signal.Signals(number).name] += 1


def _end(_: int, __: FrameType | None) -> None:
    leave(int(os.environ.get("WORKLOAD_TERM_CODE", "0")), "terminated")
