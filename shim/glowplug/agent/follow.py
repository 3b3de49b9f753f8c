"""containerd's events, brought to those in the agent that wait for them.

One subscription for the whole agent, made anew when containerd comes back. Nothing is told of what happened
while there was none: whoever must know looks it up in `begun`, which is called after each new subscription.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from glowplug.containerd.client import Containerd
from glowplug.containerd.events import Event, EventStream
from glowplug.errors import ContainerdError, GlowplugError

log = logging.getLogger("glowplug.agent")

Handler = Callable[[Event], None]

AGAIN_AFTER_S = 1.0


class Follower(threading.Thread):
    """Calls the handlers of an event's topic, one after another: a handler returns at once."""

    def __init__(
        self,
        containerd: Containerd,
        handlers: Mapping[str, Sequence[Handler]],
        begun: Sequence[Callable[[], None]] = (),
    ) -> None:
        """`handlers`: by topic, such as /tasks/start."""
        super().__init__(name="events", daemon=True)
        self._containerd = containerd
        self._handlers = handlers
        self._begun = begun
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._stream: EventStream | None = None

    def run(self) -> None:
        """Until `stop`. A containerd that is away is asked again every second."""
        said = ""
        while (stream := self._subscribe()) is not None:
            try:
                with stream:
                    for catch_up in self._begun:
                        _call(catch_up)
                    for event in stream:
                        said = ""
                        for handler in self._handlers.get(event.topic, ()):
                            _call(partial(handler, event))
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
            self._stream = self._containerd.events(sorted(self._handlers))
            return self._stream


def _call(work: Callable[[], None]) -> None:
    """One that fails is no reason to miss the next event."""
    try:
        work()
    except (GlowplugError, OSError) as error:
        log.warning("%s", error)
