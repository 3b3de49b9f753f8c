"""All reports show real starts and captures, and nothing secret.

Metrics over HTTP, Kubernetes (tests/api_server.py stands in for its API server), the log, top and timeline.
"""

import base64
import json
import os
import subprocess
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests import api_server
from tests.api_server import ApiServer

from glowplug.agent.kubernetes.cluster import CAPTURED, OUTCOME
from integration.captured import captured
from integration.node import GLOWPLUG, Node
from integration.pods import Pods
from integration.registry import free_port
from integration.waiting import wait_until

SECRET = "hunter3-" + uuid.uuid4().hex
NAMESPACE = "reported"
WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Watched:
    """A node whose agent lists all that it can."""

    node: Node
    api: ApiServer
    address: str

    def metrics(self) -> dict[str, float]:
        """By name and label values."""
        return {
            " ".join((sample.name, *sample.labels.values())): sample.value
            for family in text_string_to_metric_families(self.scrape())
            for sample in family.samples
        }

    def scrape(self) -> str:
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=60) as answer:
            return str(answer.read().decode())

    def run(self, *arguments: str) -> str:
        """Standard output of a command."""
        command = [GLOWPLUG, *arguments, "--config", self.node.names.config]
        done = subprocess.run(command, env=self.node.env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def watched(node: Node, tmp_path: Path) -> Iterator[Watched]:
    address = f"127.0.0.1:{free_port()}"
    node.ensure_agent()
    spool = f"{node.names.run_dir}/outcomes"
    wait_until(lambda: not os.listdir(spool), WITHIN_S, "the starts of earlier tests taken in")
    with api_server.serving() as api:
        node.stop_agent()
        config = api.kubeconfig(str(tmp_path / "kubeconfig"))
        node.write_settings({"metrics_listen": address, "kubernetes": config, "node_name": "node-1"})
        node.ensure_agent()
        yield Watched(node, api, address)
        node.stop_agent()
        node.write_settings({})


def test_a_capture_and_a_restore_are_reported_everywhere_and_no_secret_is(
    watched: Watched, pods: Pods, tmp_path: Path
) -> None:
    pod = watched.api.pod("holder", NAMESPACE, gate=CAPTURED, uid="uid-of-holder")
    taken = captured(
        watched.node,
        pods,
        name="holder",
        pod_fields={
            "namespace": NAMESPACE,
            "uid": "uid-of-holder",
            # Selected, so that its cold start is an Event; captured by hand.
            "annotations": {"glowplug.dev/containers": "main", "glowplug.dev/capture": "never"},
        },
        env={"API_KEY": SECRET, "WORKLOAD_MEMORY_MB": "64"},
        args=(f"--password={SECRET}",),
    )
    _, container = taken.restored(watched.node, pods)

    def restored() -> bool:
        # The last of a start's numbers: a scrape may come between them.
        return watched.metrics()["glowplug_restored_memory_bytes_total"] >= 64e6

    wait_until(restored, WITHIN_S, "the restore among the metrics")
    found = watched.metrics()
    assert found["glowplug_starts_total restored "] == 1
    assert found["glowplug_starts_total cold no-checkpoint"] == 1
    assert found["glowplug_captures_total captured"] == 1
    assert found["glowplug_restore_phase_seconds_count criu"] == 1
    assert found["glowplug_cache_bytes"] > 64e6

    wait_until(lambda: len(watched.api.events) == 3, WITHIN_S, "three events")
    assert [event["reason"] for event in watched.api.events] == ["ColdStart", "Captured", "Restored"]
    wait_until(
        lambda: pod["metadata"]["annotations"].get(OUTCOME) == "main=restored", WITHIN_S, "the annotation"
    )
    wait_until(lambda: pod["status"]["conditions"][-1]["type"] == CAPTURED, WITHIN_S, "the condition")

    page = tmp_path / "start.html"
    picture = watched.run("timeline", container.id)
    assert "GB/s" in picture or "MB/s" in picture
    watched.run("timeline", f"{NAMESPACE}/holder", "--html", str(page))
    top = watched.run("top")
    assert f"{NAMESPACE}/holder/main" in top

    reported = {
        "metrics": watched.scrape(),
        "events": json.dumps(watched.api.events),
        "pods": json.dumps(list(watched.api.pods.values())),
        "nodes": json.dumps(watched.api.nodes),
        "top": top,
        "timeline": picture,
        "page": page.read_text(),
        "log": Path(watched.node.names.state, "agent.log").read_text(),
    }
    assert [name for name, text in reported.items() if _holds(text)] == []
    for name in ("holder", NAMESPACE, taken.checkpoint):
        assert name not in reported["metrics"]
        assert name not in reported["nodes"]


def _holds(text: str) -> bool:
    """Plain, in hexadecimal, or in what is alike of its three base64 forms."""
    plain = SECRET.encode()
    forms = [base64.b64encode(b"\0" * shift + plain)[4:-4].decode() for shift in range(3)]
    return any(form in text for form in (SECRET, plain.hex(), *forms))
