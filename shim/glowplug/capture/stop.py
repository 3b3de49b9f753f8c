"""Ending a container after its capture, as a container runtime does: its stop signal, a while, SIGKILL."""

import signal
import time

from glowplug.containerd.client import Containerd
from glowplug.containerd.records import ContainerRecord
from glowplug.containerd.rpc import NotFound
from glowplug.host import process

GRACE_S = 10.0
KILLED_S = 5.0
POLL_S = 0.05


def stop(containerd: Containerd, record: ContainerRecord, init: int) -> None:
    """`init`: its first process (host pid). One that comes to an end on its own meanwhile has ended.

    Raises ContainerdError.
    """
    signal_name = record.cri.stop_signal if record.cri else ""
    try:
        containerd.kill(record.id, number_of(signal_name))
        if not _ended(init, GRACE_S):
            containerd.kill(record.id, signal.SIGKILL, everyone=True)
            _ended(init, KILLED_S)
    except NotFound:
        return


def number_of(name: str) -> int:
    """The signal of an image's STOPSIGNAL: `SIGQUIT`, `QUIT`, `3`, `RTMIN+3`; SIGTERM for none and for what is none.

    As containerd reads it (containerd, CRI's container_stop.go; moby/sys/signal).
    """
    if name.isascii() and name.isdigit() and 0 < int(name) < signal.NSIG:
        return int(name)
    base, plus, more = name.upper().removeprefix("SIG").partition("+")
    if not plus:
        return signal.Signals.__members__.get(f"SIG{base}", signal.SIGTERM)
    above = int(more) if base == "RTMIN" and more.isascii() and more.isdigit() else signal.NSIG
    return signal.SIGRTMIN + above if signal.SIGRTMIN + above < signal.NSIG else signal.SIGTERM


def _ended(pid: int, within_s: float) -> bool:
    until = time.monotonic() + within_s
    while process.is_alive(pid):
        if time.monotonic() > until:
            return False
        time.sleep(POLL_S)
    return True
