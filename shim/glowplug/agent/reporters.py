"""Who hears of what happens, besides the log: metrics, and Kubernetes. As the configuration says.

Each is imported only where it is wanted: what nobody listens to costs no memory.
"""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from glowplug import __version__
from glowplug.agent.handler_watch import HandlerWatch, Report
from glowplug.apiserver import node_labels, this_node
from glowplug.cache.store import Store
from glowplug.checkpoint.requirements import HostFacts
from glowplug.config import Config
from glowplug.errors import CacheError, HostError
from glowplug.outcomes.history import History

if TYPE_CHECKING:
    from glowplug.agent.kubernetes.cluster import Cluster

Count = Callable[[str], None]

log = logging.getLogger("glowplug.agent")


class Reporters:
    """From `with` on everybody is informed; at its end everything is closed.

    What can't report is no reason to be absent: it is an error in the log.
    """

    def __init__(
        self, config: Config, store: Store, history: History, host: HostFacts, watch: HandlerWatch
    ) -> None:
        """`host`: this node's facts. `watch`: knows whether the handler is active."""
        self._watch = watch
        self._config = config
        self._store = store
        self._history = history
        self._host = host
        self.saw_namespace: Callable[[str], None] = lambda _: None
        """Gets each new pod's namespace; for Kubernetes."""
        self._open = ExitStack()
        self._round = time.monotonic()

    def __enter__(self) -> "Reporters":
        with ExitStack() as opened:
            count = self._serve_metrics(opened) if self._config.metrics_listen else _count_nothing
            self._report_to_kubernetes(opened, count)
            self._open = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def round(self) -> None:
        """The agent's main loop has completed a round, and all that it looks after lives."""
        self._round = time.monotonic()

    def _serve_metrics(self, opened: ExitStack) -> Count:
        """Counts writes to Kubernetes, too."""
        from glowplug.agent.metrics.counters import Metrics  # only where metrics are served
        from glowplug.agent.metrics.node import NodeCollector
        from glowplug.agent.metrics.server import MetricsServer

        versions = {
            "version": __version__,
            "criu": self._host.criu or "",
            "kernel": self._host.kernel or "",
            "driver": self._host.driver or "",
        }
        metrics = Metrics(versions)
        metrics.registry.register(NodeCollector(self._store, lambda: time.monotonic() - self._round))
        self._history.reporters.append(metrics.count)
        try:
            server = MetricsServer(self._config.metrics_listen, metrics.registry)
        except HostError as error:
            log.error("%s", error)
        else:
            server.start()
            opened.callback(server.stop)
            log.info("metrics at http://%s/metrics", self._config.metrics_listen)
        return metrics.count_write

    def _report_to_kubernetes(self, opened: ExitStack, count: Count) -> None:
        from glowplug.apiserver import client  # only where Kubernetes is reported to, and the next

        wanted = self._config.kubernetes
        if wanted == "off" or (wanted == "auto" and not client.is_in_a_pod()):
            return
        from glowplug.agent.kubernetes import cluster  # brings the Kubernetes client, 0.8 s
        from glowplug.agent.kubernetes.cached_workloads import CachedWorkloads

        cached = CachedWorkloads(self._store)

        def labels() -> dict[str, str]:
            try:
                workloads = cached.images()
            except CacheError as error:
                log.warning("%s", error)
                workloads = []
            return node_labels.wanted(self._watch.ask(), self._host.driver, workloads)

        node = this_node.node_name(self._config.node_name)
        reported = cluster.Cluster(wanted, node, labels, self._history.records, count)
        reported.start()
        self._history.reporters.append(reported.report)
        self._watch.changed.append(reported.look_now)
        self.saw_namespace = reported.saw_namespace
        self._watch.reporters.append(lambda report: _report_node(reported, report))
        opened.callback(reported.stop)
        log.info("Kubernetes is informed, as node %s", node)


def _report_node(reported: "Cluster", report: Report) -> None:
    reported.report_node(report.kind, report.reason, report.message)


def _count_nothing(_result: str) -> None:
    """Without metrics."""
