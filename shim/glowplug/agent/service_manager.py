"""What systemd is informed of: ready, alive, stopping. Without systemd nothing is said, and nothing is missed.

The protocol is one datagram per state to the socket in NOTIFY_SOCKET (sd_notify(3)). For the watchdog
(WatchdogSec= of the unit) the agent says that it lives only after a round of its main loop in which its other
loops were alive, too: one that hangs is restarted by systemd, and meanwhile every start is cold.
"""

import logging
import os
import socket
import threading
from collections.abc import Iterable

from glowplug.agent.loop.heart import Heart
from glowplug.outcomes import ask

log = logging.getLogger("glowplug.agent")

ANSWERS_WITHIN_S = 2.0


def ready() -> None:
    """The agent listens."""
    _notify("READY=1")


def stopping() -> None:
    """It ends in order."""
    _notify("STOPPING=1")


def alive(loops: Iterable[threading.Thread], hearts: Iterable[Heart] = ()) -> bool:
    """Feed the watchdog where the loops run, their hearts beat and the agent's own socket answers; whether they do."""
    dead = [loop.name for loop in loops if not loop.is_alive()]
    dead += [heart.name for heart in hearts if not heart.is_alive]
    if dead:
        log.error("threads of the agent have ended or hang: %s", ", ".join(dead))
        return False
    try:
        ask.ask({"op": "history", "container": ""}, ANSWERS_WITHIN_S)
    except ask.NoAnswer as error:
        log.error("the agent does not answer itself: %s", error.detail)
        return False
    _notify("WATCHDOG=1")
    return True


def _notify(state: str) -> None:
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
        try:
            connection.connect("\0" + path[1:] if path.startswith("@") else path)
            connection.sendall(state.encode())
        except OSError as error:
            log.warning("the service manager can't be known %s: %s", state, error)
