"""Who is told of what happens, besides the log: metrics, and Kubernetes. As the configuration says.

Each is imported only where it is wanted: what nobody listens to costs no memory.
"""

import logging
import time
from contextlib import ExitStack
from types import TracebackType

from glowplug import __version__
from glowplug.agent.history import History
from glowplug.cache.store import Store
from glowplug.checkpoint.requirements import HostFacts
from glowplug.config import Config
from glowplug.errors import HostError

log = logging.getLogger("glowplug.agent")


class Telling:
    """From `with` on everybody is told; at its end everything is closed.

    What can't be told is no reason to be absent: it is an error in the log.
    """

    def __init__(self, config: Config, store: Store, history: History, host: HostFacts) -> None:
        """`host`: this node's facts."""
        self._config = config
        self._store = store
        self._history = history
        self._host = host
        self._open = ExitStack()
        self._round = time.monotonic()

    def __enter__(self) -> "Telling":
        with ExitStack() as opened:
            if self._config.metrics_listen:
                try:
                    self._serve_metrics(opened)
                except HostError as error:
                    log.error("%s", error)
            self._open = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._history.tellers.clear()
        self._open.close()

    def round(self) -> None:
        """The agent's main loop has gone round."""
        self._round = time.monotonic()

    def _serve_metrics(self, opened: ExitStack) -> None:
        from glowplug.agent.metrics import Metrics
        from glowplug.agent.metrics_node import NodeCollector
        from glowplug.agent.metrics_server import MetricsServer

        versions = {
            "version": __version__,
            "criu": self._host.criu or "",
            "kernel": self._host.kernel or "",
            "driver": self._host.driver or "",
        }
        metrics = Metrics(versions)
        metrics.registry.register(NodeCollector(self._store, lambda: time.monotonic() - self._round))
        server = MetricsServer(self._config.metrics_listen, metrics.registry)
        self._history.tellers.append(metrics.count)
        server.start()
        opened.callback(server.stop)
        log.info("metrics at http://%s/metrics", self._config.metrics_listen)
