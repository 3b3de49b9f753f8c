"""Whether containerd has our handlers, looked at every few seconds; one that is gone is put back.

Other programs write containerd's configuration too (NVIDIA's toolkit at each start of its pod, configuration
management): a file that was written again without the handler means, from containerd's next start on, that no pod of
the RuntimeClass can be created. What was installed is known from its record (containerd/installed.py); `glowplug node
repair` installs it again, in a process of its own.

An agent that stops changes nothing: what is active in containerd stays so.
"""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from glowplug.containerd import handlers, installed
from glowplug.containerd.cri import Cri
from glowplug.containerd.installed import Installed
from glowplug.errors import ContainerdError

log = logging.getLogger("glowplug.agent")

LOOKS_EVERY_S = 5.0
ANSWERS_WITHIN_S = 5.0
REPAIRS_WITHIN_S = 300.0

FIRST_REST_S = 10.0
LONGEST_REST_S = 60.0
"""Between two repairs of one handler, so that a program which keeps rewriting the file is not fought all the time. No
longer: pods of the class can't be created meanwhile, and a restart of containerd takes seconds."""

CALM_AFTER_S = 300.0
"""A handler that stayed so long is repaired at once the next time."""

Stamp = tuple[tuple[str, int, int, int], ...]
Kind = Literal["Normal", "Warning"]


@dataclass(frozen=True, slots=True)
class Report:
    """What happened to a handler: an Event on the node. `message` is one sentence."""

    kind: Kind
    reason: str
    message: str


@dataclass(slots=True)
class _Watched:
    """`seen`: the files as they were when all was well. Times are time.monotonic() seconds."""

    seen: Stamp | None = None
    rest_s: float = FIRST_REST_S
    rests_until: float = 0.0
    repaired_at: float = float("-inf")
    said: str = ""


class HandlerWatch(threading.Thread):
    """From `start` to `stop`. `reporters`: called with what was repaired or could not be; they must not wait."""

    def __init__(self, socket: str, prefix: str | None = None) -> None:
        """`socket`: containerd's. `prefix`: where Glowplug is; default: as `installed.prefix` finds it."""
        super().__init__(name="handler", daemon=True)
        self.reporters: list[Callable[[Report], None]] = []
        self.changed: list[Callable[[], None]] = []
        self._cri = Cri(socket, timeout_s=ANSWERS_WITHIN_S)
        self._prefix = prefix or installed.prefix()
        self._watched: dict[str, _Watched] = {}
        self.active: bool | None = None
        """What the last look found, as `ask` has it; None: containerd has not answered yet."""
        self._stopping = threading.Event()

    def stop(self) -> None:
        """A repair under way continues."""
        self._stopping.set()
        if self.is_alive():
            self.join(ANSWERS_WITHIN_S + 1)
        self._cri.close()

    def run(self) -> None:
        """Until `stop`."""
        while not self._stopping.is_set():
            try:
                self.look()
            except Exception:  # a thread that ended would leave the handler unwatched, and nobody would know
                log.exception("the handler can't be looked at")
            self._stopping.wait(LOOKS_EVERY_S)

    def ask(self) -> bool | None:
        """Whether every installed handler is in the configuration that containerd runs with (where none is recorded:
        whether any of ours is). Of this moment and not of the last look, as an uninstall may just have ended. None: no
        answer.
        """
        try:
            found = handlers.active(self._cri)
        except (ContainerdError, ValueError):  # the second where `stop` has closed the channel
            return None
        return _has_all(found, installed.all_of(self._prefix))

    def look(self) -> None:
        """Ask containerd, and repair what is gone."""
        try:
            found = handlers.active(self._cri)
        except ContainerdError as error:
            log.debug("%s", error)
            return
        records = installed.all_of(self._prefix)
        self._set(_has_all(found, records))
        for record in records:
            self._look_at(record, is_active=record.handler in found)

    def _set(self, active: bool) -> None:
        if self.active != active:
            self.active = active
            for call in self.changed:
                call()

    def _look_at(self, record: Installed, *, is_active: bool) -> None:
        watched = self._watched.setdefault(record.handler, _Watched())
        now, stamp = time.monotonic(), _stamp(record.files)
        if is_active and watched.seen in (None, stamp):
            watched.seen = stamp
            watched.said = ""
            return
        if now < watched.rests_until:
            return
        if now - watched.repaired_at > CALM_AFTER_S:
            watched.rest_s = FIRST_REST_S
        watched.rests_until = now + watched.rest_s
        watched.rest_s = min(2 * watched.rest_s, LONGEST_REST_S)
        error = self._repair(record, watched, is_active=is_active)
        if error is None:
            watched.seen = _stamp(record.files)
        elif error != watched.said:
            watched.said = error
            why = "is not in containerd's configuration" if not is_active else "was changed in its files"
            self._report("Warning", "HandlerMissing", f"the handler {record.handler} {why}: {error}")

    def _repair(self, record: Installed, watched: _Watched, *, is_active: bool) -> str | None:
        """None where all is well now, else why not."""
        command = [f"{os.path.dirname(sys.executable)}/glowplug", "node", "repair"]
        command += ["--prefix", self._prefix, "--handler", record.handler]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=REPAIRS_WITHIN_S,
                process_group=0,
            )
        except (OSError, subprocess.SubprocessError) as error:
            return f"`glowplug node repair` failed: {type(error).__name__}"
        if done.returncode != 0:
            return (done.stderr.strip().splitlines() or ["no reason stated"])[-1].removeprefix("glowplug: ")
        lines = done.stdout.strip().splitlines()
        if lines:
            watched.repaired_at = time.monotonic()
            what = "had gone from containerd's configuration" if not is_active else "was changed in its files"
            self._report(
                "Normal", "HandlerRepaired", f"the handler {record.handler} {what}: {'; '.join(lines)}"
            )
            self._set(True)
        return None

    def _report(self, kind: Kind, reason: str, message: str) -> None:
        log.log(logging.WARNING if kind == "Warning" else logging.INFO, "%s", message)
        for report in self.reporters:
            report(Report(kind, reason, message))


def _has_all(found: Mapping[str, str], records: Sequence[Installed]) -> bool:
    """Every installed handler; where none is recorded, any of ours."""
    return all(one.handler in found for one in records) if records else bool(handlers.ours(found))


def _stamp(paths: tuple[str, ...]) -> Stamp:
    """What shows whether a file was written: inode, time and size; zeros for one that is not there."""
    found = []
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            found.append((path, 0, 0, 0))
        else:
            found.append((path, status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(found)
