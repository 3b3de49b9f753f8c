"""Where a pod goes, what is mounted where in it, and what is counted of it."""

from typing import Any

import pytest
from hack.clusterlib.place import NODE_NAME

from integration.cluster.cluster import (
    COMES_WITHIN_S,
    Cluster,
    condition,
    deployment,
    pod_template,
    server,
    wait_until,
)

pytestmark = pytest.mark.usefixtures("reports")
TAINT = "cluster.test/away"
METRICS = "127.0.0.1:9464"
_METRICS = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9464/metrics', timeout=10).read().decode())"


def captured_and_one_more(cluster: Cluster, namespace: str, app: str, template: dict[str, Any]) -> Any:
    """A Deployment of two pods, the second one restored; that one."""
    cluster.apply(deployment(namespace, app, template))
    first = cluster.ready(namespace, app)[0]["metadata"]["name"]
    cluster.scale(namespace, app, 2)
    pods = cluster.ready(namespace, app, 2)
    assert cluster.outcomes(namespace, app, 2) == ["server=cold:no-checkpoint", "server=restored"]
    return next(pod for pod in pods if pod["metadata"]["name"] != first)


def is_unschedulable(pod: Any) -> bool:
    return pod["status"]["phase"] == "Pending" and condition(pod, "PodScheduled") == "False"


def test_a_taint_sends_restored_pods_away_and_lets_them_come_back(cluster: Cluster, namespace: str) -> None:
    """NoExecute ends them as any pod; who tolerates it stays; NoSchedule ends none. Back again, they are restored."""
    captured_and_one_more(cluster, namespace, "app", pod_template("app", [server()]))
    tolerates = [{"key": TAINT, "operator": "Exists"}]
    template = pod_template("stays", [server()], tolerations=tolerates)
    cluster.apply(deployment(namespace, "stays", template))
    stays = cluster.ready(namespace, "stays")[0]
    assert cluster.outcomes(namespace, "stays") == ["server=restored"]
    before = {pod["metadata"]["name"] for pod in cluster.pods(namespace, "app")}
    try:
        cluster.kubectl("taint", "node", NODE_NAME, f"{TAINT}=yes:NoSchedule")
        cluster.scale(namespace, "app", 3)
        wait_until(
            lambda: any(map(is_unschedulable, cluster.pods(namespace, "app"))),
            COMES_WITHIN_S,
            "a third pod without a node",
        )
        cluster.ready(namespace, "stays")
        assert {
            pod["metadata"]["name"]
            for pod in cluster.pods(namespace, "app")
            if pod["status"]["phase"] == "Running"
        } == before
        cluster.kubectl("taint", "node", NODE_NAME, f"{TAINT}=yes:NoExecute")

        def left() -> bool:
            found = cluster.get("pods", "-n", namespace, "-l", "app=app")["items"]
            return before.isdisjoint(pod["metadata"]["name"] for pod in found)

        wait_until(left, COMES_WITHIN_S, "the pods sent away")
        assert cluster.ready(namespace, "stays")[0]["metadata"]["uid"] == stays["metadata"]["uid"]
    finally:
        cluster.kubectl("taint", "node", NODE_NAME, f"{TAINT}-")
    cluster.ready(namespace, "app", 3)
    assert cluster.outcomes(namespace, "app", 3) == ["server=restored"] * 3


def test_volumes_by_sub_path(cluster: Cluster, namespace: str) -> None:
    """Of an emptyDir in which the server wrote a file, of a hostPath, of a Secret: a restored pod has its own."""
    cluster.run("sh", "-c", "mkdir -p /var/lib/shared/one && echo from the host >/var/lib/shared/one/message")
    secret = {"kind": "Secret", "apiVersion": "v1", "stringData": {"labels": "of the secret"}}
    cluster.apply({**secret, "metadata": {"name": "own", "namespace": namespace}})
    container = server(
        env=[{"name": "WRITES", "value": "yes"}],
        volumeMounts=[
            {"name": "scratch", "mountPath": "/scratch", "subPath": "deep/er"},
            {"name": "host", "mountPath": "/etc/app", "subPath": "one", "readOnly": True},
            {"name": "own", "mountPath": "/etc/podinfo/labels", "subPath": "labels"},
        ],
    )
    volumes = [
        {"name": "scratch", "emptyDir": {}},
        {"name": "host", "hostPath": {"path": "/var/lib/shared"}},
        {"name": "own", "secret": {"secretName": "own"}},
    ]
    try:
        restored = captured_and_one_more(
            cluster, namespace, "app", pod_template("app", [container], volumes=volumes)
        )
        said = cluster.ask(restored)
        assert (said["scratch"], said["config"], said["labels"]) == (
            ["by-server"],
            "from the host\n",
            "of the secret",
        )
        name = restored["metadata"]["name"]
        cluster.kubectl("exec", "-n", namespace, name, "--", "sh", "-c", "echo mine >/scratch/by-exec")
        assert cluster.ask(restored)["scratch"] == ["by-exec", "by-server"]
        others = [pod for pod in cluster.pods(namespace, "app") if pod["metadata"]["name"] != name]
        assert cluster.ask(others[0])["scratch"] == ["by-server"]
    finally:
        cluster.scale(namespace, "app", 0)
        cluster.run("rm", "-rf", "/var/lib/shared")


def test_who_ignores_the_end_is_killed_after_its_grace(cluster: Cluster, namespace: str) -> None:
    """A restored container that takes no SIGTERM: the kubelet's SIGKILL ends it, and the pod goes."""
    container = server(env=[{"name": "IGNORES_TERM", "value": "yes"}])
    template = pod_template("app", [container], terminationGracePeriodSeconds=1)
    restored = captured_and_one_more(cluster, namespace, "app", template)
    name = restored["metadata"]["name"]
    cluster.kubectl("delete", "pod", "-n", namespace, name, "--wait=false")
    wait_until(lambda: cluster.get("pod", name, "-n", namespace) is None, COMES_WITHIN_S, "the pod gone")
    cluster.ready(namespace, "app", 2)


def test_service_links_are_the_pod_s_own(cluster: Cluster, namespace: str) -> None:
    """The variables of a Service that was there first: in the first pod and in the restored one."""
    service = {"selector": {"app": "app"}, "ports": [{"port": 80, "targetPort": 8000}]}
    metadata = {"name": "front", "namespace": namespace}
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service})
    address = cluster.get("service", "front", "-n", namespace)["spec"]["clusterIP"]
    restored = captured_and_one_more(cluster, namespace, "app", pod_template("app", [server()]))
    assert cluster.ask(restored)["links"] == {"FRONT_SERVICE_HOST": address, "FRONT_SERVICE_PORT": "80"}


def test_what_is_counted(cluster: Cluster, namespace: str) -> None:
    """By the names of docs/observability.md: starts, captures, what was written to Kubernetes."""
    with cluster.configured(metrics_listen=METRICS):
        captured_and_one_more(cluster, namespace, "app", pod_template("app", [server()]))

        def counted() -> dict[str, float]:
            lines = cluster.run("/usr/bin/python3", "-c", _METRICS).stdout.splitlines()
            samples = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
            return {name: float(value) for name, _, value in samples}

        expected = {
            'glowplug_starts_total{outcome="restored",reason=""}': 1.0,
            'glowplug_starts_total{outcome="cold",reason="no-checkpoint"}': 1.0,
            'glowplug_captures_total{result="captured"}': 1.0,
            'glowplug_kubernetes_writes_total{result="failed"}': 0.0,
        }
        wait_until(
            lambda: {name: counted().get(name) for name in expected} == expected,
            COMES_WITHIN_S,
            "the counters",
        )
        assert counted()['glowplug_kubernetes_writes_total{result="written"}'] >= 4
