"""What is so at the moment of a scrape: the cache, and what is under way. Nothing of it is kept."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from glowplug import paths
from glowplug.cache import disk
from glowplug.cache.store import Store
from glowplug.cache.summary import Row
from glowplug.errors import CacheError
from glowplug.outcomes import under_way


class NodeCollector(Collector):
    """The gauges of this node. `since_round_s`: seconds since the agent's last round, of its main loop."""

    def __init__(self, store: Store, since_round_s: Callable[[], float]) -> None:
        self._store = store
        self._since_round_s = since_round_s

    def describe(self) -> Iterable[Metric]:
        """Names without values: the cache is not read for them."""
        return [*_of_cache(self._store, (), 0), *_under_way(), *self._own(scraped=True)]

    def collect(self) -> Iterator[Metric]:
        """The gauges. A cache that can't be read leaves its own out, and says so."""
        try:
            yield from _of_cache(self._store, self._store.rows(), disk.free(self._store.root))
            scraped = True
        except (CacheError, OSError):
            scraped = False
        yield from _under_way()
        yield from self._own(scraped=scraped)

    def _own(self, *, scraped: bool) -> Iterator[Metric]:
        yield _gauge("glowplug_cache_readable", "Whether the cache could be read for this scrape.", scraped)
        yield _gauge(
            "glowplug_agent_round_age_seconds",
            "Seconds since the agent's main loop last completed a round; it does so every 5 seconds.",
            self._since_round_s(),
        )


def _of_cache(store: Store, rows: Iterable[Row], free: int) -> Iterator[Metric]:
    found = list(rows)
    limits = store.limits
    counts = (
        ("glowplug_cache_bytes", "Size of all checkpoints on the disk.", sum(row.bytes for row in found)),
        ("glowplug_cache_limit_bytes", "What all checkpoints together stay under.", limits.max_bytes or 0),
        ("glowplug_cache_free_bytes", "Free space on the cache's file system.", free),
        ("glowplug_cache_min_free_bytes", "Free space that is left to others.", limits.min_free),
        ("glowplug_checkpoints", "Checkpoints in the cache.", len(found)),
        ("glowplug_checkpoints_pinned", "Of them, pinned.", sum(row.pinned for row in found)),
        ("glowplug_checkpoints_in_use", "Of them, being restored.", sum(row.in_use for row in found)),
        (
            "glowplug_checkpoints_quarantined",
            "Of them, quarantined after a failure of their own.",
            sum(row.quarantine is not None for row in found),
        ),
    )
    for name, text, value in counts:
        yield _gauge(name, text, value)


def _under_way() -> Iterator[Metric]:
    running = Counter(one.kind for one in under_way.read())
    yield _gauge("glowplug_restores_running", "Restores under way.", running[under_way.RESTORE])
    yield _gauge("glowplug_captures_running", "Captures under way.", running[under_way.CAPTURE])
    waiting = len(os.listdir(paths.spool())) if os.path.isdir(paths.spool()) else 0
    yield _gauge("glowplug_outcomes_waiting", "Outcomes in the spool, not yet in the journal.", waiting)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))
