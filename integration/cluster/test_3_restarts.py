"""Nothing that happens to agent, containerd, kubelet or API server ends a pod, or keeps one from starting."""

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hack.clusterlib import control, power
from hack.clusterlib.machine import Failed

from integration.cluster.cluster import (
    COMES_WITHIN_S,
    Cluster,
    deployment,
    is_ready,
    pod_template,
    server,
    wait_until,
)

pytestmark = pytest.mark.usefixtures("reports")
NAMESPACE = "restarts"
REPAIRED_WITHIN_S = 30.0


@pytest.fixture(scope="module")
def running(cluster: Cluster, reports: None) -> Iterator[set[str]]:
    """One pod that started cold and two that were restored; their containers."""
    cluster.make_namespace(NAMESPACE)
    cluster.apply(deployment(NAMESPACE, "app", pod_template("app", [server()], gate=False)))
    cluster.ready(NAMESPACE, "app")
    wait_until(lambda: "Captured" in cluster.events(NAMESPACE), COMES_WITHIN_S, "the capture")
    cluster.scale(NAMESPACE, "app", 3)
    cluster.ready(NAMESPACE, "app", 3)
    assert cluster.outcomes(NAMESPACE, "app", 3).count("server=restored") == 2
    yield cluster.container_ids(NAMESPACE)
    cluster.delete_namespace(NAMESPACE)


def check(cluster: Cluster, running: set[str]) -> None:
    """The same containers, and no pod that failed or waits."""
    cluster.ready(NAMESPACE, "app", 3)
    assert (cluster.container_ids(NAMESPACE), cluster.failed()) == (running, [])


def kill_agent(cluster: Cluster) -> None:
    cluster.run("sh", "-c", "kill -9 $(cat /run/unit-glowplug-agent.pid); sleep 0.5")


STEPS: dict[str, Callable[[Cluster], None]] = {
    "agent-stopped": Cluster.stop_agent,
    "kubelet": Cluster.restart_kubelet,
    "containerd": Cluster.restart_containerd,
}


@pytest.mark.parametrize("order", list(itertools.permutations(STEPS)), ids="-".join)
def test_restarts_in_every_order(cluster: Cluster, running: set[str], order: tuple[str, ...]) -> None:
    """The agent is down from its turn on."""
    try:
        for name in order:
            STEPS[name](cluster)
            check(cluster, running)
    finally:
        cluster.start_agent()
    check(cluster, running)
    assert cluster.labels()["glowplug.dev/ready"] == "true"


def test_a_killed_agent_and_a_kubelet(cluster: Cluster, running: set[str]) -> None:
    kill_agent(cluster)
    cluster.restart_kubelet()
    check(cluster, running)
    cluster.start_agent()


def test_a_label_that_somebody_took_off(cluster: Cluster, running: set[str]) -> None:
    """No running pod is chosen by it; the agent puts it back, and a pod that selects by it is not Pending for long."""
    ours = sorted(name for name in cluster.labels() if "glowplug.dev/" in name)
    assert {"glowplug.dev/handler", "glowplug.dev/ready"} <= set(ours)
    cluster.make_namespace("selects")
    cluster.kubectl("label", "node", "n1", *(f"{name}-" for name in ours))
    template = pod_template("app", [server()], gate=False, nodeSelector={"glowplug.dev/handler": "true"})
    cluster.apply(deployment("selects", "app", template))
    cluster.restart_kubelet()
    cluster.ready("selects", "app")
    assert sorted(name for name in cluster.labels() if "glowplug.dev/" in name) == ours
    cluster.delete_namespace("selects", wait=False)
    check(cluster, running)


def test_a_second_agent_speaks_for_no_pod(cluster: Cluster, running: set[str]) -> None:
    done = cluster.run("glowplug", "agent", check=False)
    assert done.returncode == 2 and "another agent listens there" in done.stderr
    assert cluster.labels()["glowplug.dev/ready"] == "true"
    cluster.restart_kubelet()
    check(cluster, running)


def test_without_an_agent_a_pod_starts_cold(cluster: Cluster, running: set[str]) -> None:
    cluster.stop_agent()
    cluster.make_namespace("cold")
    cluster.apply(deployment("cold", "app", pod_template("app", [server()], gate=False)))
    cluster.ready("cold", "app")
    cluster.start_agent()
    assert cluster.outcomes("cold", "app") == ["server=cold:no-agent"]
    cluster.delete_namespace("cold", wait=False)
    check(cluster, running)


def test_a_rewritten_configuration_is_repaired(cluster: Cluster, running: set[str]) -> None:
    """Somebody writes the file without the handler and restarts containerd, as NVIDIA's toolkit may.

    A pod that comes in between waits for the repair, and is Ready then.
    """
    cluster.make_namespace("repaired")
    cluster.run("sh", "-c", "cp /etc/containerd/config.toml.glowplug-original /etc/containerd/config.toml")
    cluster.restart_containerd()
    cluster.apply(deployment("repaired", "app", pod_template("app", [server()], gate=False)))
    wait_until(
        lambda: cluster.run("glowplug", "node", "status", check=False).returncode == 0,
        REPAIRED_WITHIN_S,
        "the handler repaired",
    )
    cluster.ready("repaired", "app")
    wait_until(lambda: "HandlerRepaired" in cluster.events("default", "Node"), 60, "the Event")
    cluster.delete_namespace("repaired", wait=False)
    check(cluster, running)
    assert cluster.labels()["glowplug.dev/ready"] == "true"


def test_an_api_server_that_is_away(cluster: Cluster, running: set[str]) -> None:
    """The agent continues, and nothing is lost but Events that nobody could take."""
    cluster.machine.stop("apiserver", "KILL")  # in order, it would wait a minute for its watchers
    assert cluster.run("glowplug", "status").returncode == 0
    cluster.stop_agent()
    cluster.start_agent()  # without an API server to ask who it is
    control.start_api_server(cluster.machine)
    wait_until(lambda: cluster.get("node", "n1"), 60, "the API server back")
    check(cluster, running)
    cluster.scale(NAMESPACE, "app", 4)
    cluster.ready(NAMESPACE, "app", 4)
    assert cluster.outcomes(NAMESPACE, "app", 4).count("server=restored") == 3
    cluster.scale(NAMESPACE, "app", 3)
    wait_until(lambda: len(cluster.pods(NAMESPACE, "app")) == 3, 60, "three pods")
    running.clear()
    running.update(cluster.container_ids(NAMESPACE))


def test_a_node_that_lost_its_power(cluster: Cluster, running: set[str]) -> None:
    """Every pod of before comes back in its place, although the agent is the last to start; none has failed."""
    names = {pod["metadata"]["name"] for pod in cluster.pods(NAMESPACE)}
    power.off(cluster.machine)
    power.on(cluster.machine)

    def is_back() -> bool:
        pods = cluster.pods(NAMESPACE)
        return cluster.container_ids(NAMESPACE).isdisjoint(running) and all(map(is_ready, pods))

    wait_until(is_back, COMES_WITHIN_S, "other containers in the same pods")
    cluster.start_agent()
    assert {pod["metadata"]["name"] for pod in cluster.pods(NAMESPACE)} == names
    assert cluster.failed() == []
    starts = [one for one in cluster.history() if "outcome" in one and one["namespace"] == NAMESPACE]
    assert [one["outcome"] for one in starts[-3:]] == ["cold:no-agent"] * 3
    wait_until(lambda: cluster.labels().get("glowplug.dev/ready") == "true", 60, "the node's label")
    cluster.scale(NAMESPACE, "app", 4)
    new = next(pod for pod in cluster.ready(NAMESPACE, "app", 4) if pod["metadata"]["name"] not in names)
    assert new["metadata"]["annotations"]["glowplug.dev/outcome"] == "server=restored"
    cluster.scale(NAMESPACE, "app", 3)
    wait_until(lambda: len(cluster.pods(NAMESPACE, "app")) == 3, 60, "three pods")
    running.clear()
    running.update(cluster.container_ids(NAMESPACE))


def test_a_full_cache_disk(cluster: Cluster, running: set[str]) -> None:
    """It fills up under the agent, and no other agent starts on it: nothing is captured, pods start, and are ready."""
    cluster.run("sh", "-c", "mkdir -p /run/full && mount -t tmpfs -o size=64m tmpfs /run/full")
    cluster.run("mkdir", "/run/full/cache")
    cluster.make_namespace("full")
    try:
        with cluster.configured(cache="/run/full/cache"):
            cluster.run("sh", "-c", "head -c 70M /dev/zero >/run/full/filler", check=False)
            cluster.apply(deployment("full", "gated", pod_template("gated", [server()])))
            cluster.ready("full", "gated")
            assert cluster.outcomes("full", "gated") == ["server=cold:no-checkpoint"]
            assert "Captured" not in cluster.events("full")
            cluster.stop_agent()
            with suppress(TimeoutError, Failed):  # where it can't: an absent agent is a miss
                cluster.start_agent()
            cluster.apply(deployment("full", "app", pod_template("app", [server()], gate=False)))
            cluster.ready("full", "app")
            assert cluster.failed() == []
    finally:
        cluster.delete_namespace("full", wait=False)
        cluster.run("umount", "/run/full")
    wait_until(
        lambda: json.loads(cluster.run("glowplug", "list", "--json").stdout), 60, "the cache of before"
    )
    cluster.ready(NAMESPACE, "app", 3)
    assert cluster.failed() == []
