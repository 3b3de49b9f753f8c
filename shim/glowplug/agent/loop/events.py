"""containerd's events, put into the loop's queue: they only make it look sooner.

One subscription for the entire agent, made again when containerd comes back. What happened while there was none is seen
by the loop's list.
"""

import logging
import threading
from collections.abc import Callable

from glowplug.containerd.client import Containerd
from glowplug.containerd.events import Event, EventStream
from glowplug.errors import ContainerdError

log = logging.getLogger("glowplug.agent")

CREATE, START, EXIT, DELETE = "/containers/create", "/tasks/start", "/tasks/exit", "/containers/delete"
TOPICS = (CREATE, START, EXIT, DELETE)
AGAIN_AFTER_S = 1.0


class Events(threading.Thread):
    """`put` takes each event, `begun` is called for each new subscription; both return at once."""

    def __init__(
        self, containerd: Containerd, put: Callable[[Event], None], begun: Callable[[], None]
    ) -> None:
        super().__init__(name="events", daemon=True)
        self._containerd = containerd
        self._put = put
        self._begun = begun
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._stream: EventStream | None = None

    def run(self) -> None:
        """Until `stop`. A containerd that is away is queried again every second, and logged once."""
        said = ""
        while (stream := self._subscribe()) is not None:
            try:
                with stream:
                    self._begun()
                    for event in stream:
                        said = ""
                        self._put(event)
            except ContainerdError as error:
                if str(error) != said:
                    log.warning("%s", error)
                said = str(error)
            self._stopping.wait(AGAIN_AFTER_S)

    def stop(self) -> None:
        """Ends the subscription and the thread."""
        with self._lock:
            self._stopping.set()
            if self._stream:
                self._stream.close()
        self.join()

    def _subscribe(self) -> EventStream | None:
        """None when it is time to stop."""
        with self._lock:
            if self._stopping.is_set():
                return None
            self._stream = self._containerd.events(TOPICS)
            return self._stream
