"""A restored pod's life as the kubelet leads it: hooks, probes, logs, crashes, copies, a Service that came later."""

import base64
import json
from typing import Any

import pytest

from integration.cluster.cluster import COMES_WITHIN_S, Cluster, deployment, pod_template, server, wait_until

pytestmark = pytest.mark.usefixtures("reports")


def restored_one(cluster: Cluster, namespace: str, template: dict[str, Any], app: str = "app") -> Any:
    """A Deployment's pod that was captured, and its next one, which was restored."""
    cluster.apply(deployment(namespace, app, template))
    cluster.ready(namespace, app)
    cluster.make_anew(namespace, app)
    pod = cluster.ready(namespace, app)[0]
    assert cluster.outcomes(namespace, app) == ["server=restored"]
    return pod


def log_on_node(cluster: Cluster, pod: Any) -> str:
    """The directory of its container's logs."""
    meta = pod["metadata"]
    return f"/var/log/pods/{meta['namespace']}_{meta['name']}_{meta['uid']}/server"


def test_hooks_probes_and_the_end(cluster: Cluster, namespace: str) -> None:
    """Startup and liveness probes, postStart, preStop, SIGTERM, and a hostPath that says in which order they came."""
    mark = {"exec": {"command": ["sh", "-c", "echo pre-stop >>/record/$(hostname)"]}}
    begin = {"exec": {"command": ["sh", "-c", "echo post-start >>/record/$(hostname)"]}}
    probe = {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1}
    template = pod_template(
        "app",
        [
            server(
                lifecycle={"postStart": begin, "preStop": mark},
                startupProbe={**probe, "failureThreshold": 240},
                livenessProbe=probe,
                env=[{"name": "TERM_FILE", "value": "/record"}],
                volumeMounts=[{"name": "record", "mountPath": "/record"}],
            )
        ],
        terminationGracePeriodSeconds=20,
        volumes=[{"name": "record", "hostPath": {"path": "/var/lib/record", "type": "DirectoryOrCreate"}}],
    )
    template["metadata"]["annotations"]["glowplug.dev/volumes"] = "stateless"
    pod = restored_one(cluster, namespace, template)
    cluster.scale(namespace, "app", 0)
    found = cluster.run("cat", f"/var/lib/record/{pod['metadata']['name']}").stdout.split()
    assert found == ["post-start", "pre-stop", "term"]
    cluster.run("rm", "-rf", "/var/lib/record")


def test_logs_are_rotated_and_copies_arrive(cluster: Cluster, namespace: str) -> None:
    """The kubelet has the runtime open a new file: what a restored container writes then is there."""
    pod = restored_one(cluster, namespace, pod_template("app", [server()]))
    name, folder = pod["metadata"]["name"], log_on_node(cluster, pod)
    cluster.ask(pod, "/flood")
    wait_until(
        lambda: len(cluster.run("ls", folder).stdout.split()) > 1, COMES_WITHIN_S, "the log file rotated"
    )
    cluster.ask(pod, "/log")
    wait_until(
        lambda: f"logged {name}" in cluster.run("cat", f"{folder}/0.log").stdout,
        60,
        "the line in the new file",
    )
    assert f"logged {name}" in cluster.kubectl("logs", "-n", namespace, name, "--tail=5")
    cluster.run("sh", "-c", "echo copied >/root/copied")
    cluster.kubectl("cp", "-n", namespace, "/root/copied", f"{name}:/tmp/copied")
    assert cluster.kubectl("exec", "-n", namespace, name, "--", "cat", "/tmp/copied") == "copied\n"


def test_a_crash_loop_is_the_pod_s_own(cluster: Cluster, namespace: str) -> None:
    """A container that ends before it is ready, again and again: its status is seen, and nothing of ours is."""
    ends = server(command=["/bin/sh", "-c", "echo crashes; exit 3"], args=[])
    cluster.apply(deployment(namespace, "app", pod_template("app", [ends], gate=False)))

    def restarted() -> Any:
        for pod in cluster.pods(namespace, "app"):
            for status in pod["status"].get("containerStatuses", ()):
                ended = status["lastState"].get("terminated")
                if status["restartCount"] >= 2 and ended:
                    return ended
        return None

    ended = wait_until(restarted, COMES_WITHIN_S, "two restarts")
    assert (ended["exitCode"], ended["reason"]) == (3, "Error")
    assert {"RestoreFailed", "CaptureFailed"}.isdisjoint(cluster.events(namespace))


def test_a_restored_container_that_crashes_again_and_again(cluster: Cluster, namespace: str) -> None:
    """Each restart in place starts cold, with the kubelet's back-off and no other."""
    pod = restored_one(cluster, namespace, pod_template("app", [server()], gate=True))
    for count in (1, 2):
        with pytest.raises(Exception):  # noqa: B017 - the connection breaks, however
            cluster.ask(pod, "/exit7")
        wait_until(
            lambda count=count: (  # type: ignore[misc]
                cluster.pods(namespace, "app")[0]["status"]["containerStatuses"][0]["restartCount"] == count
            ),
            COMES_WITHIN_S,
            f"restart {count}",
        )
        pod = cluster.ready(namespace, "app")[0]
    assert cluster.outcomes(namespace, "app") == ["server=cold:container-restart"]


def test_projected_tokens_and_the_downward_api(cluster: Cluster, namespace: str) -> None:
    """A restored pod reads its own, by files and by /run/glowplug/restored."""
    volumes = [
        {
            "name": "own",
            "projected": {
                "sources": [
                    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
                    {
                        "downwardAPI": {
                            "items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]
                        }
                    },
                ]
            },
        }
    ]
    container = server(volumeMounts=[{"name": "own", "mountPath": "/own"}])
    template = pod_template("app", [container], automountServiceAccountToken=False, volumes=volumes)
    name = restored_one(cluster, namespace, template)["metadata"]["name"]
    inside = ("exec", "-n", namespace, name, "--")
    assert cluster.kubectl(*inside, "cat", "/own/name") == name
    token = cluster.kubectl(*inside, "cat", "/own/token")
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["kubernetes.io"]["pod"]["name"] == name
    assert name in cluster.kubectl(*inside, "cat", "/run/glowplug/restored")


def test_a_service_that_came_later(cluster: Cluster, namespace: str) -> None:
    """New pods have its variables, so they are no restores of the old ones; none fails, and the next are restored."""
    template = pod_template("app", [server()])
    restored_one(cluster, namespace, template)
    service = {"selector": {"app": "app"}, "ports": [{"port": 80}]}
    metadata = {"name": "later", "namespace": namespace}
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service})
    cluster.scale(namespace, "app", 2)
    cluster.ready(namespace, "app", 2)
    for outcome in cluster.outcomes(namespace, "app", 2):
        assert "fallback" not in outcome
    assert cluster.failed() == []


def test_eight_at_once(cluster: Cluster, namespace: str) -> None:
    """All of them restored."""
    restored_one(cluster, namespace, pod_template("app", [server()]))
    cluster.scale(namespace, "app", 8)
    cluster.ready(namespace, "app", 8)
    assert cluster.outcomes(namespace, "app", 8) == ["server=restored"] * 8
