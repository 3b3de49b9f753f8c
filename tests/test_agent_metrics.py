"""Metrics: right numbers, few labels, no names of users, served on one address, to proper requests."""

import contextlib
import gzip
import http.client
import os
import re
import socket
import threading
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from tests.cli_made import Node

from glowplug.agent import ingest
from glowplug.agent.metrics import server as http_server
from glowplug.agent.metrics.counters import Metrics
from glowplug.agent.metrics.node import NodeCollector
from glowplug.agent.metrics.server import MetricsServer
from glowplug.cache.evict import Limits
from glowplug.errors import HostError
from glowplug.outcomes.history import History
from glowplug.outcomes.record import Record

VERSIONS = {"version": "0.1", "criu": "4.2.1", "kernel": "6.1.0", "driver": ""}
RESTORED: Record = {
    "container_id": "c0" * 32,
    "namespace": "of-a-tenant",
    "pod": "their-pod",
    "container": "their-container",
    "outcome": "restored",
    "checkpoint": "ab" * 16,
    "total_s": 0.8,
    "phases": {"resolve": 0.1, "criu": 0.4, "memory": 0.2},
    "memory_bytes": 3_000_000_000,
}

OF_EACH_KIND: tuple[Record, ...] = (
    RESTORED,
    {"outcome": "cold:no-memory"},
    {"outcome": "fallback:criu"},
    {"event": "capture", "result": "captured", "pause_s": 0.6, "bytes": 7},
    {"event": "after-restore", "result": "done"},
    {"event": "quarantine", "stage": "check", "checkpoint": "ab" * 16},
    {"event": "exit", "ran_s": 2.0, "stopped": False},
)
"""Together they move every metric that is counted from records."""


@pytest.fixture
def node(tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Node:
    return Node(str(tmp_path), monkeypatch, capsys)


def reported(*records: Record) -> Metrics:
    made = Metrics(VERSIONS)
    for record in records:
        made.count(record)
    return made


def samples(registry: CollectorRegistry) -> dict[str, float]:
    """By name and labels, as Prometheus reads them."""
    return {
        sample.name
        + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def test_a_restore_is_counted_with_its_phases_and_its_speed() -> None:
    found = samples(reported(RESTORED).registry)
    assert found["glowplug_starts_total outcome=restored reason="] == 1
    assert found["glowplug_start_seconds_sum outcome=restored"] == 0.8
    assert found["glowplug_restore_phase_seconds_sum phase=criu"] == 0.4
    assert found["glowplug_restored_memory_bytes_total"] == 3e9
    assert found["glowplug_restore_memory_bytes_per_second_bucket le=1.6e+10"] == 1
    assert found["glowplug_restore_memory_bytes_per_second_bucket le=1.2e+10"] == 0


def test_misses_and_fallbacks_are_counted_by_reason() -> None:
    found = samples(reported({"outcome": "cold:no-memory"}, {"outcome": "fallback:criu"}).registry)
    assert found["glowplug_starts_total outcome=cold reason=no-memory"] == 1
    assert found["glowplug_starts_total outcome=fallback reason=criu"] == 1


def test_a_first_event_is_an_increase() -> None:
    found = samples(reported().registry)
    assert found["glowplug_starts_total outcome=fallback reason=memory"] == 0
    assert found["glowplug_restore_phase_seconds_sum phase=cuda_restore"] == 0
    assert found["glowplug_quarantines_total stage=early-exit"] == 0
    assert found["glowplug_captures_total result=failed"] == 0
    assert found["glowplug_kubernetes_writes_total result=dropped"] == 0


def test_every_metric_is_moved_by_a_record() -> None:
    before, counted = samples(reported().registry), reported(*OF_EACH_KIND)
    counted.count_write("written")
    moved = {
        sample.split()[0]
        for sample, figure in samples(counted.registry).items()
        if figure != before.get(sample)
    }
    families = {family.name for family in counted.registry.collect() if family.name.startswith("glowplug_")}
    unmoved = {name for name in families if not any(sample.startswith(name) for sample in moved)}
    assert unmoved == {"glowplug_agent_info"}


def test_captures_quarantines_and_early_exits_are_counted() -> None:
    found = samples(
        reported(
            {"event": "capture", "result": "captured", "pause_s": 0.6, "bytes": 7},
            {"event": "capture", "result": "refused"},
            {"event": "quarantine", "stage": "check", "checkpoint": "ab" * 16},
            {"event": "exit", "ran_s": 2.0, "stopped": False},
            {"event": "exit", "ran_s": 2.0, "stopped": True},
            {"event": "exit", "ran_s": 200.0, "stopped": False},
        ).registry
    )
    assert found["glowplug_captures_total result=captured"] == 1
    assert found["glowplug_captures_total result=refused"] == 1
    assert found["glowplug_captured_bytes_total"] == 7
    assert found["glowplug_capture_pause_seconds_sum"] == 0.6
    assert found["glowplug_quarantines_total stage=check"] == 1
    assert found["glowplug_early_exits_total"] == 1
    assert found["glowplug_starts_total outcome=restored reason="] == 0


def test_no_record_makes_a_name_of_a_user_a_label_or_more_series_than_there_may_be() -> None:
    odd = [{"outcome": f"cold:r{number}"} for number in range(1000)]
    spoilt: list[Record] = [
        {"outcome": f"{kind}:{reason}"}
        for kind in ("cold", "fallback", "their-pod", "")
        for reason in ("Their Secret", "x" * 100, 'a"b', "a\nb")
    ]
    made = reported(
        RESTORED,
        *spoilt,
        *odd,
        {"event": "capture", "result": "their-pod"},
        {"event": "quarantine", "stage": "their pod"},
        *({"outcome": "restored", "phases": {f"p{number}": 1.0}} for number in range(1000)),
    )
    text = generate_latest(made.registry).decode()
    for name in ("their", "Their", "tenant", "abab", "xxxx"):
        assert name not in text
    assert len(text.splitlines()) < 2500
    assert samples(made.registry)["glowplug_starts_total outcome=cold reason=other"] > 800


def test_garbage_is_no_metric_and_no_error() -> None:
    garbage: list[Record] = [
        {},
        {"outcome": 7},
        {"outcome": "restored", "total_s": "x", "phases": {"criu": "y", "memory": -1}, "memory_bytes": -5},
        {"outcome": "restored", "total_s": float("nan"), "phases": ["criu"]},
        {"event": "capture", "pause_s": None, "bytes": float("inf")},
        {"event": "exit", "ran_s": []},
    ]
    found = samples(reported(*garbage).registry)
    assert found["glowplug_starts_total outcome=restored reason="] == 2
    assert found["glowplug_restored_memory_bytes_total"] == 0


def test_names_follow_prometheus_conventions(node: Node) -> None:
    registry = all_metrics(node)
    for family in registry.collect():
        if family.name.startswith("process_"):
            continue
        assert re.fullmatch(r"glowplug_[a-z][a-z_]+", family.name)
        assert family.documentation.endswith(".")
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name
        assert not re.search(r"_(ms|mb|gb|milliseconds|gigabytes)", family.name)


def test_the_cache_is_reported_as_it_is(node: Node) -> None:
    first, second = node.published(), node.published("2026-03-02T12:00:00Z")
    node.store.pin(first)
    node.store.quarantine(second, "check: damaged")
    found = samples(all_metrics(node))
    assert (found["glowplug_checkpoints"], found["glowplug_checkpoints_pinned"]) == (2, 1)
    assert found["glowplug_checkpoints_quarantined"] == 1
    assert found["glowplug_cache_bytes"] == sum(row.bytes for row in node.store.rows())
    assert found["glowplug_cache_limit_bytes"] == 1 << 30
    assert found["glowplug_agent_round_age_seconds"] == 4.0


def test_a_cache_that_is_gone_is_said_and_costs_no_other_metric(node: Node) -> None:
    registry = all_metrics(node)
    os.rename(node.cache, f"{node.cache}.gone")
    found = samples(registry)
    assert found["glowplug_cache_readable"] == 0
    assert "glowplug_checkpoints" not in found
    assert "glowplug_agent_info criu=4.2.1 driver= kernel=6.1.0 version=0.1" in found


def test_a_restarted_agent_counts_what_it_takes_in_and_nothing_twice(node: Node) -> None:
    node.started(1.0, "cold:no-agent")
    for outcomes in (1, 0, 1):
        history, made = History(node.cache), Metrics(VERSIONS)
        history.reporters.append(made.count)
        ingest.take_in(node.store, history)
        assert samples(made.registry)["glowplug_starts_total outcome=cold reason=no-agent"] == outcomes
        if not outcomes:
            node.started(2.0, "cold:no-agent")


def all_metrics(node: Node) -> CollectorRegistry:
    os.makedirs(node.cache, exist_ok=True)
    made = Metrics(VERSIONS)
    store = node.store
    store.limits = Limits(max_bytes=1 << 30, min_free=7)
    made.registry.register(NodeCollector(store, lambda: 4.0))
    return made.registry


# -- over HTTP --


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    made = MetricsServer(f"127.0.0.1:{free_port()}", reported(RESTORED).registry)
    made.start()
    yield made
    made.stop()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def get(server: MetricsServer, path: str, accept: str = "") -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Accept": accept} if accept else {})
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()


def test_metrics_are_served_as_text_and_as_openmetrics(server: MetricsServer) -> None:
    status, kind, body = get(server, "/metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert b'glowplug_starts_total{outcome="restored",reason=""} 1.0' in body
    status, kind, body = get(server, "/metrics", "application/openmetrics-text; version=1.0.0")
    assert kind.split(";")[0] == "application/openmetrics-text"
    assert body.endswith(b"# EOF\n")


def test_nothing_else_is_served(server: MetricsServer) -> None:
    assert get(server, "/")[0] == 404
    assert get(server, "/../etc/passwd")[0] == 404


def test_an_answer_is_compressed_where_that_is_requested(server: MetricsServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        assert answer.headers["Content-Encoding"] == "gzip"
        assert b"glowplug_starts_total" in gzip.decompress(answer.read())


def test_only_get_is_answered(server: MetricsServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", "/metrics")
        assert connection.getresponse().status == 405


@pytest.mark.parametrize(
    "line", [b"", b"\r\n", b"GET\r\n", b"\xff" * 100 + b"\r\n\r\n", b"POST /metrics HTTP/1.0\r\n\r\n"]
)
def test_garbage_ends_no_server(server: MetricsServer, line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.server_address[1])) as connection:
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(60)
        while connection.recv(65536):
            pass
    assert get(server, "/metrics")[0] == 200


def test_a_silent_client_delays_others_only_briefly(server: MetricsServer) -> None:
    with socket.create_connection(("127.0.0.1", server.server_address[1])):
        assert get(server, "/metrics")[0] == 200


def test_a_client_that_trickles_delays_others_and_a_stop_only_briefly(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is for the entire request, not for each piece of it."""
    monkeypatch.setattr(http_server, "DONE_WITHIN_S", 0.5)
    over = threading.Event()

    def trickle() -> None:
        with socket.create_connection(("127.0.0.1", server.server_address[1])) as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
            begun.set()
            with contextlib.suppress(OSError):
                while not over.wait(0.02):
                    connection.sendall(b"x")

    begun = threading.Event()
    thread = threading.Thread(target=trickle)
    thread.start()
    begun.wait()
    try:
        assert get(server, "/metrics")[0] == 200
    finally:
        over.set()
        thread.join()


def test_a_scrape_that_can_t_be_made_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Collector):
        def collect(self) -> Iterator[Metric]:
            if self.is_queried:
                raise ValueError("no such thing")
            return iter(())

        is_queried = False

    registry, broken = CollectorRegistry(), Broken()
    registry.register(broken)
    broken.is_queried = True
    server = MetricsServer(f"127.0.0.1:{free_port()}", registry)
    server.start()
    assert get(server, "/metrics")[0] == 500
    server.stop()
    assert "no such thing" in caplog.text


@pytest.mark.parametrize("address", ["192.0.2.77", "[2001:db8::77]"])
def test_an_address_that_the_node_gets_later_is_listened_on(address: str) -> None:
    """An agent starts early, before the network is there; nobody would start it again for that."""
    if address.startswith("[") and not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("a kernel without IPv6")
    made = MetricsServer(f"{address}:{free_port()}", CollectorRegistry())
    made.start()
    made.stop()


def test_an_address_in_use_is_one_clear_error(server: MetricsServer) -> None:
    with pytest.raises(HostError, match=r"can't serve metrics on 127.0.0.1:\d+: Address already in use"):
        MetricsServer(f"127.0.0.1:{server.server_address[1]}", CollectorRegistry())
