"""Whether a workload is ready, queried as its pod's annotation says (policy.Ready).

A question has an end, in bytes and in time, whatever the workload does; one that fails is a no.
"""

import os
import time
from collections.abc import Callable
from contextlib import closing

from glowplug.agent.captures.hooks import EXEC_GRACE_S
from glowplug.agent.captures.logwatch import LogWatch
from glowplug.agent.captures.running import Running, connect
from glowplug.capture.policy import Ready
from glowplug.containerd.cri import Cri
from glowplug.errors import ContainerdError
from glowplug.layer import beneath
from glowplug.podnet import http

ANSWER_WITHIN_S = 5.0
SOONEST_S = 0.1
SOONEST_EXEC_S = 1.0
LATEST_S = 1.0

Ask = Callable[[float], bool]
"""Called with the time, in time.monotonic() seconds, by which it has to answer."""


def question(wanted: Ready, running: Running, cri: Cri, began: float, owner: str) -> Ask:
    """What to ask. `began`: when the container was started, in time.monotonic() seconds; `owner`: its namespace."""
    if wanted.kind == "log":
        return LogWatch(running.log, wanted.regex, owner).ask
    if wanted.kind == "after":
        return lambda _: time.monotonic() >= began + wanted.seconds
    asks: dict[str, Ask] = {
        "http": lambda until: _http(running, wanted, until),
        "tcp": lambda until: _tcp(running, wanted, until),
        "exec": lambda _: _exec(running, wanted, cri),
        "file": lambda _: _file(running, wanted),
    }
    return asks[wanted.kind]


def _http(running: Running, wanted: Ready, until: float) -> bool:
    """A status from 200 to 299: a redirect is no answer of the workload's."""
    try:
        with closing(connect(running, wanted.port, until)) as connection:
            return 200 <= http.status(connection, "GET", wanted.path, "", until) < 300
    except (OSError, ValueError):
        return False


def _tcp(running: Running, wanted: Ready, until: float) -> bool:
    try:
        connect(running, wanted.port, until).close()
    except OSError:
        return False
    return True


def _exec(running: Running, wanted: Ready, cri: Cri) -> bool:
    try:
        done = cri.exec_sync(running.id, wanted.command, int(ANSWER_WITHIN_S), EXEC_GRACE_S)
    except ContainerdError:
        return False
    return done.exit_code == 0


def _file(running: Running, wanted: Ready) -> bool:
    """O_PATH opens nothing: a FIFO or a device is there without being touched."""
    try:
        os.close(beneath.open_beneath(f"/proc/{running.pid}/root", wanted.path, os.O_PATH | os.O_CLOEXEC))
    except OSError:
        return False
    return True
