"""The thread that ingests the spool: at once when it is called, otherwise every EVERY_S.

So a pod's readiness gate opens within a second of what it waits for, whatever else the agent is at.
"""

import logging
import threading
from collections.abc import Callable

from glowplug.agent.loop.heart import Heart
from glowplug.errors import GlowplugError

log = logging.getLogger("glowplug.agent")

EVERY_S = 1.0


class SpoolReader(threading.Thread):
    """`take_in`: ingests all that is there. `call` may be called from any thread."""

    def __init__(self, take_in: Callable[[], None]) -> None:
        super().__init__(name="spool", daemon=True)
        self.heart = Heart("spool", 30.0)
        self._take_in = take_in
        self._called = threading.Event()
        self._stopping = False

    def call(self) -> None:
        """Something was put there."""
        self._called.set()

    def close(self) -> None:
        """After one last look."""
        self._stopping = True
        self.call()
        self.join()

    def run(self) -> None:
        """Until `close`."""
        said = ""
        while True:
            last = self._stopping
            try:
                self._take_in()
                said = ""
            except (GlowplugError, OSError) as error:
                if str(error) != said:
                    log.error("the spool can't be taken in: %s", error)
                said = str(error)
            except Exception:
                log.exception("the spool can't be taken in")
            self.heart.beat()
            if last:
                return
            self._called.wait(EVERY_S)
            self._called.clear()
