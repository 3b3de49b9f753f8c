"""The thread that sees to what killed captures have left (captures/undo.py), of this agent's and of earlier ones."""

import logging
import threading

from glowplug.agent.captures import journal as journals
from glowplug.agent.captures import undo
from glowplug.agent.loop.heart import Heart
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.containerd.cri import Cri
from glowplug.errors import GlowplugError

log = logging.getLogger("glowplug.agent")

EVERY_S = 2.0
LIMIT_S = 1200.0
"""A hook after a capture takes up to ten minutes, and CUDA three."""


class UndoKilled(threading.Thread):
    """From `start` to `close`."""

    def __init__(self, config: Config, containerd: Containerd, cri: Cri) -> None:
        super().__init__(name="undo", daemon=True)
        self.heart = Heart("undo", LIMIT_S)
        self._config = config
        self._containerd = containerd
        self._cri = cri
        self._stopping = threading.Event()

    def close(self) -> None:
        """Returns when what it is at is done."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Until `close`."""
        said = ""
        while True:
            self.heart.beat()
            for journal in journals.abandoned():
                try:
                    if undo.undo(journal, self._config, self._containerd, self._cri):
                        log.info("saw to what the killed capture of container %s left", journal.container)
                    else:
                        journal.leave()
                except (GlowplugError, OSError) as error:
                    journal.leave()
                    if str(error) != said:
                        log.error("what a killed capture left can't be seen to: %s", error)
                    said = str(error)
            if self._stopping.wait(EVERY_S):
                return
