"""What a node learns of its own speed: from restores that say something about it, and from no other."""

import os
import time

from glowplug.checkpoint.worth import NodeRates
from glowplug.outcomes.rates import Rates

GB = 1e9
HERE = len(os.sched_getaffinity(0))
NOW = time.time()


def restored(written: float, unread: float, seconds: float, **other: object) -> dict[str, object]:
    record = {"outcome": "restored", "time": NOW, "memory_bytes": written, "unread_bytes": unread}
    return {**record, "phases": {"memory": seconds}, **other}


def test_nothing_is_known_of_a_node_that_restored_nothing() -> None:
    assert Rates([]).measured() == NodeRates(cores=HERE)


def test_memory_from_the_page_cache_says_the_fill_rate() -> None:
    assert Rates([restored(4 * GB, 0, 2)] * 3).measured() == NodeRates(read=None, fill=2 * GB, cores=HERE)


def test_files_from_the_disk_say_the_read_rate() -> None:
    assert Rates([restored(4 * GB, 3 * GB, 2)] * 3).measured() == NodeRates(
        read=1.5 * GB, fill=None, cores=HERE
    )


def test_one_slow_restore_is_not_the_node_s_speed() -> None:
    rates = Rates([restored(GB, 0, 1), restored(GB, 0, 30), restored(GB, 0, 1)])
    assert rates.measured().fill == GB


def test_the_last_restores_count() -> None:
    rates = Rates([restored(GB, 0, 10)] * 40)
    for _ in range(16):
        rates.report(restored(GB, 0, 1))
    assert rates.measured().fill == GB


def test_too_few_restores_and_old_ones_say_nothing() -> None:
    assert Rates([restored(GB, 0, 1)] * 2).measured() == NodeRates(cores=HERE)
    assert Rates([restored(GB, 0, 1, time=NOW - 90_000)] * 16).measured() == NodeRates(cores=HERE)


def test_what_says_nothing_counts_for_nothing() -> None:
    rates = Rates(
        [
            *[restored(1e6, 0, 1)] * 3,
            *[restored(4 * GB, 0.2 * GB, 1)] * 3,
            *[restored(4 * GB, 0, 1, outcome="fallback:memory")] * 3,
            *[restored(4 * GB, 0, 0)] * 3,
            {"outcome": "restored"},
            {"outcome": "restored", "memory_bytes": "4", "unread_bytes": None, "phases": 7},
            {},
        ]
    )
    assert rates.measured() == NodeRates(cores=HERE)
