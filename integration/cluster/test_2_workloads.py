"""Workloads as people write them: captured once, restored afterwards, and each pod is its own."""

import json
import time
from typing import Any

import pytest
from hack.clusterlib import control, images

from integration.cluster.cluster import (
    CAPTURED,
    COMES_WITHIN_S,
    Cluster,
    condition,
    deployment,
    pod_template,
    server,
    wait_until,
)

SCRATCH = {"volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}


pytestmark = pytest.mark.usefixtures("reports")


def everything(namespace: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A ConfigMap, a Secret and a Service, and a pod that has all of them and more."""
    things: list[dict[str, Any]] = [
        {"kind": "ConfigMap", "data": {"message": "hello one"}},
        {"kind": "Secret", "stringData": {"password": "s3cret"}},
        {
            "kind": "Service",
            "spec": {"selector": {"app": "app"}, "ports": [{"port": 80, "targetPort": 8000}]},
        },
    ]
    for thing in things:
        thing.update(apiVersion="v1", metadata={"name": "app", "namespace": namespace})
    container = server(
        env=[
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "app", "key": "password"}}},
        ],
        livenessProbe={"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 5, "initialDelaySeconds": 30},
        volumeMounts=[
            {"name": "config", "mountPath": "/etc/app"},
            {"name": "scratch", "mountPath": "/scratch"},
        ],
    )
    volumes = [{"name": "config", "configMap": {"name": "app"}}, {"name": "scratch", "emptyDir": {}}]
    return things, pod_template("app", [container], volumes=volumes)


def test_a_deployment(cluster: Cluster, namespace: str) -> None:
    """ConfigMap, Secret, Service, token, downward API, emptyDir, probes, gate: outcome, Events, exec, logs."""
    things, pod = everything(namespace)
    cluster.apply(*things, deployment(namespace, "app", pod))
    first = cluster.ask(cluster.ready(namespace, "app")[0])
    assert cluster.outcomes(namespace, "app") == ["server=cold:no-checkpoint"]

    cluster.scale(namespace, "app", 3)
    pods = cluster.ready(namespace, "app", 3)
    assert cluster.outcomes(namespace, "app", 3) == ["server=cold:no-checkpoint", *["server=restored"] * 2]
    for pod in pods:
        said = cluster.ask(pod)
        name = pod["metadata"]["name"]
        assert condition(pod, CAPTURED) == "True"
        assert said["token"] == first["token"]
        assert (said["host"], said["config"], said["secret"]) == (name, "hello one", "s3cret")
        assert said["account"]
    wait_until(lambda: cluster.events(namespace).count("Restored") == 2, 60, "the Events")
    assert {"ColdStart", "Captured"} <= set(cluster.events(namespace))
    endpoints = cluster.get("endpoints", "app", "-n", namespace)["subsets"][0]["addresses"]
    assert {one["ip"] for one in endpoints} == {pod["status"]["podIP"] for pod in pods}

    restored = next(pod for pod in pods if cluster.ask(pod)["restored"] is not None)["metadata"]["name"]
    assert cluster.kubectl("exec", "-n", namespace, restored, "--", "hostname").strip() == restored
    cluster.ask(next(pod for pod in pods if pod["metadata"]["name"] == restored), "/log")
    wait_until(
        lambda: f"logged {restored}" in cluster.kubectl("logs", "-n", namespace, restored), 20, "the log"
    )
    assert "starting" not in cluster.kubectl("logs", "-n", namespace, restored)
    assert cluster.failed() == []

    cluster.kubectl("rollout", "restart", "-n", namespace, "deployment/app")
    cluster.kubectl("rollout", "status", "-n", namespace, "deployment/app", "--timeout=240s")
    assert cluster.outcomes(namespace, "app", 3) == ["server=restored"] * 3

    changed = {**things[0], "data": {"message": "hello two"}}
    cluster.apply(changed)
    cluster.kubectl("rollout", "restart", "-n", namespace, "deployment/app")
    cluster.kubectl("rollout", "status", "-n", namespace, "deployment/app", "--timeout=240s")
    found = {cluster.ask(pod)["config"] for pod in cluster.ready(namespace, "app", 3)}
    assert found == {"hello two"}


def test_the_gate_opens_with_the_containers(cluster: Cluster, namespace: str) -> None:
    """Within a second of ContainersReady: conditions have full seconds, so the difference is 1 at most."""
    cluster.apply(deployment(namespace, "gate", pod_template("gate", [server()])))
    cluster.ready(namespace, "gate")
    cluster.make_anew(namespace, "gate")
    pod = cluster.ready(namespace, "gate")[0]
    assert cluster.outcomes(namespace, "gate") == ["server=restored"]
    times = {one["type"]: one["lastTransitionTime"] for one in pod["status"]["conditions"]}
    seconds = {kind: time.mktime(time.strptime(at, "%Y-%m-%dT%H:%M:%SZ")) for kind, at in times.items()}
    assert seconds["Ready"] - seconds["ContainersReady"] <= 2


def test_a_stateful_set_s_pods_answer_with_their_own_names(cluster: Cluster, namespace: str) -> None:
    service = {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 8000}]}
    metadata = {"name": "web", "namespace": namespace}
    stateful = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata,
        "spec": {
            "serviceName": "web",
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": pod_template("web", [server()]),
        },
    }
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service}, stateful)
    for pod in cluster.ready(namespace, "web", 2):
        said = cluster.ask(pod)
        assert (said["pod"], said["host"]) == (pod["metadata"]["name"],) * 2


def test_containers_that_are_not_captured_are_left_alone(cluster: Cluster, namespace: str) -> None:
    """An init container that fills an emptyDir, and a sidecar that reads it: no Event of theirs, no failed restore."""
    fill = {
        "name": "fill",
        "image": images.BUSYBOX,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", "echo same > /scratch/from-init"],
        **SCRATCH,
    }
    side = {
        **fill,
        "name": "side",
        "command": ["sh", "-c", "while :; do cat /scratch/from-init; sleep 1; done"],
    }
    template = pod_template(
        "multi",
        [server(**SCRATCH), side],
        initContainers=[fill],
        volumes=[{"name": "scratch", "emptyDir": {}}],
    )
    cluster.apply(deployment(namespace, "multi", template))
    cluster.ready(namespace, "multi")
    cluster.make_anew(namespace, "multi")
    cluster.ready(namespace, "multi")
    assert "RestoreFailed" not in cluster.events(namespace)
    for outcome in cluster.outcomes(namespace, "multi"):
        assert "fallback" not in outcome


def test_a_job_that_warms_up(cluster: Cluster, namespace: str) -> None:
    """once-and-exit: the Job completes with its capture, and the Deployment's first pod is restored."""
    template = pod_template("warm", [server()], gate=False, restartPolicy="Never")
    template["metadata"]["annotations"]["glowplug.dev/capture"] = "once-and-exit"
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "warm", "namespace": namespace},
        "spec": {"backoffLimit": 2, "template": template},
    }
    cluster.apply(job)
    query = ("job", "warm", "-n", namespace)
    wait_until(lambda: cluster.get(*query)["status"].get("succeeded") == 1, COMES_WITHIN_S, "the Job")
    cluster.apply(deployment(namespace, "warmed", pod_template("warmed", [server()], gate=False)))
    cluster.ready(namespace, "warmed")
    assert cluster.outcomes(namespace, "warmed") == ["server=restored"]


@pytest.mark.parametrize(
    ("path", "reason", "status"), [("/exit7", "Error", 7), ("/oom", "OOMKilled", 137)], ids=["exit", "oom"]
)
def test_a_restored_container_ends_as_any(
    cluster: Cluster, namespace: str, path: str, reason: str, status: int
) -> None:
    """Its exit status is seen, and its restart in place starts cold."""
    cluster.apply(deployment(namespace, "ends", pod_template("ends", [server()], gate=False)))
    cluster.ready(namespace, "ends")
    wait_until(lambda: "Captured" in cluster.events(namespace), COMES_WITHIN_S, "the capture")
    cluster.make_anew(namespace, "ends")
    pod = cluster.ready(namespace, "ends")[0]
    assert cluster.outcomes(namespace, "ends") == ["server=restored"]
    with pytest.raises(Exception):  # noqa: B017 - the connection breaks, however
        cluster.ask(pod, path)

    def last() -> Any:
        found = cluster.pods(namespace, "ends")[0]["status"]["containerStatuses"][0]
        return found["lastState"].get("terminated")

    ended = wait_until(last, COMES_WITHIN_S, "the end seen")
    assert (ended["reason"], ended["exitCode"]) == (reason, status)
    cluster.ready(namespace, "ends")
    assert cluster.outcomes(namespace, "ends") != ["server=restored"]


def test_a_hardened_pod(cluster: Cluster, namespace: str) -> None:
    """Not root, no capabilities, a read-only root, fsGroup, subPath, and a memory emptyDir at /dev/shm."""
    config = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "sec", "namespace": namespace}}
    security = {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = [
        {"name": "config", "mountPath": "/etc/app/message", "subPath": "message"},
        {"name": "shm", "mountPath": "/dev/shm"},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    template = pod_template(
        "sec",
        [server(securityContext=security, volumeMounts=mounts)],
        securityContext={
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "runAsNonRoot": True,
            "fsGroup": 2000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        volumes=[
            {"name": "config", "configMap": {"name": "sec"}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
        ],
    )
    cluster.apply({**config, "data": {"message": "sub path"}}, deployment(namespace, "sec", template))
    cluster.ready(namespace, "sec")
    cluster.make_anew(namespace, "sec")
    assert cluster.ask(cluster.ready(namespace, "sec")[0])["config"] == "sub path"
    # Without CAP_SYS_RESOURCE a container's other user can be captured by real_user.py's way alone.
    assert cluster.outcomes(namespace, "sec")[0].startswith("server=restored")


def test_a_namespace_that_was_made_again(cluster: Cluster) -> None:
    """No pod fails there, whatever of the old one is found."""
    for _ in range(2):
        cluster.make_namespace("again")
        cluster.apply(deployment("again", "app", pod_template("app", [server()], gate=False)))
        cluster.ready("again", "app")
        assert cluster.failed() == []
        cluster.delete_namespace("again")


def test_kubectl_s_ways_into_a_restored_pod(cluster: Cluster, namespace: str) -> None:
    """cp and port-forward."""
    cluster.apply(deployment(namespace, "ways", pod_template("ways", [server()])))
    cluster.ready(namespace, "ways")
    cluster.make_anew(namespace, "ways")
    pod = cluster.ready(namespace, "ways")[0]["metadata"]["name"]
    assert cluster.outcomes(namespace, "ways") == ["server=restored"]
    cluster.kubectl("exec", "-n", namespace, pod, "--", "sh", "-c", "echo reported >/tmp/file")
    assert cluster.kubectl("exec", "-n", namespace, pod, "--", "cat", "/tmp/file") == "reported\n"
    kubectl = " ".join(control.kubectl_command(cluster.machine.place))
    get = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:18000/').read().decode())"
    script = f"""{kubectl} port-forward -n {namespace} {pod} 18000:8000 >/dev/null 2>&1 & forward=$!
    for i in $(seq 100); do python3 -c "$1" 2>/dev/null && break; sleep 0.2; done
    kill $forward"""
    assert json.loads(cluster.run("/bin/sh", "-c", script, "sh", get).stdout)["host"] == pod
