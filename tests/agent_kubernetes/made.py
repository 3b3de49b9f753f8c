"""What the tests of this folder build."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.api_server import ApiServer

from glowplug.agent.kubernetes.cluster import CAPTURED, Cluster
from glowplug.apiserver import node_labels
from glowplug.outcomes.record import Record

WEB = {"namespace": "models", "pod": "web", "pod_uid": "uid-1", "container": "main"}
RESTORED = {**WEB, "time": 1772373731.0, "outcome": "restored", "checkpoint": "ab" * 16, "total_s": 0.8}
AWAKE = {**WEB, "event": "after-restore", "result": "none"}
COLD = {**WEB, "outcome": "cold:no-checkpoint", "detail": "no checkpoint of this workload"}


class Reported:
    """A Cluster that speaks to the server, and the history behind it."""

    def __init__(self, server: ApiServer, directory: Path, records: list[Record]) -> None:
        self.records = records
        self.counted: list[str] = []
        self.labels = {node_labels.READY: "true"}
        config = server.kubeconfig(str(directory / "kubeconfig"))
        self.cluster = Cluster(
            config, "node-1", lambda: dict(self.labels), lambda: self.records, self.counted.append
        )

    def report(self, *records: Record) -> None:
        for record in records:
            self.records.append(record)
            self.cluster.report(record)


def until(holds: Callable[[], object], what: str = "") -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def condition(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((one for one in pod["status"]["conditions"] if one["type"] == CAPTURED), None)
