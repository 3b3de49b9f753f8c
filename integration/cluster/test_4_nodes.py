"""Two nodes: the class keeps to those that have the handler, the DaemonSet brings it, the warm one is preferred."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from hack.clusterlib import images, second
from hack.clusterlib.machine import Machine
from hack.clusterlib.place import FIRST, REPOSITORY, SECOND
from tests.test_runtime_config_helm import made

from integration.cluster.cluster import (
    COMES_WITHIN_S,
    Cluster,
    deployment,
    is_ready,
    pod_template,
    server,
    wait_until,
)
from integration.cluster.installer_image import NAME as IMAGE
from integration.cluster.installer_image import InstallerImage
from integration.cluster.shared_registry import ON_NODES, SharedRegistry

pytestmark = pytest.mark.usefixtures("reports")
SYSTEM = "glowplug-system"
KEYS = "node-keys"
INSTALLED_WITHIN_S = 420.0


@pytest.fixture(scope="module")
def n2(cluster: Cluster, reports: None) -> Iterator[Machine]:
    """A node without Glowplug, and the class as it is for such a cluster."""
    cluster.kubectl("apply", "-f", f"{REPOSITORY}/runtime_config/runtimeclass/runtimeclass.yaml")
    machine = second.join(cluster.machine, os.environ.get("GLOWPLUG_CONTAINERD") or "containerd")
    try:
        yield machine
    finally:
        kept = os.environ.get("GLOWPLUG_KEEP_LOGS")
        if kept:
            shutil.copytree(machine.place.logs, f"{kept}/n2", dirs_exist_ok=True)
            logs = f"{machine.place.state}/own/var/log"
            shutil.copytree(logs, f"{kept}/n2/node", dirs_exist_ok=True, symlinks=True)
        machine.down()
        cluster.kubectl("delete", "node", SECOND.name)
        cluster.kubectl("apply", "-f", f"{REPOSITORY}/docs/examples/runtimeclass.yaml")


@pytest.fixture(scope="module")
def registry(cluster: Cluster) -> SharedRegistry:
    """What the chart's configuration names from the start; it runs for its own test."""
    return SharedRegistry(f"{cluster.machine.place.state}/registry")


def chart(registry: SharedRegistry, *, warm: Sequence[str] = (), **values: Any) -> list[dict[str, Any]]:
    """What the Helm chart makes, with the API server as pods and nodes reach it: no kube-proxy runs here."""
    repository, _, tag = IMAGE.rpartition(":")
    return made(
        {
            "image": {"repository": repository, "tag": tag},
            "kubernetes": {"apiServer": f"https://{FIRST.address}:6443"},
            "config": {"log_format": "json", "min_free_bytes": 0, "registry": registry.values()},
            "registry": {"nodeSecret": KEYS, "secrets": [], "warm": list(warm)},
            **values,
        }
    )


def where(pods: list[Any]) -> set[str]:
    """The nodes of pods."""
    return {pod["spec"]["nodeName"] for pod in pods}


def plain(template: dict[str, Any]) -> dict[str, Any]:
    """The same pod without the class."""
    spec = {key: value for key, value in template["spec"].items() if key != "runtimeClassName"}
    return {**template, "spec": spec}


def test_a_node_that_never_had_it(cluster: Cluster, n2: Machine, namespace: str) -> None:
    """Pods of the class are ready on the other node; the same pods without the class are sent to this one, too."""
    template = pod_template("app", [server()], gate=False)
    cluster.apply(deployment(namespace, "app", template, 4))
    assert where(cluster.ready(namespace, "app", 4)) == {FIRST.name}
    assert cluster.failed() == []
    template = plain(pod_template("plain", [server()], gate=False))
    cluster.apply(deployment(namespace, "plain", template, 4))
    assert SECOND.name in where(cluster.ready(namespace, "plain", 4))


def test_the_daemonset_installs_the_node(
    cluster: Cluster, n2: Machine, registry: SharedRegistry, installer_image: InstallerImage
) -> None:
    """The image, run by the node's kubelet: handler, agent, access to the API server, label.

    Its first pod is deleted while it works, as a drain may: the work continues, and the next pod waits for it.
    """
    archive = installer_image.archive()
    for machine in (cluster.machine, n2):
        machine.run("ctr", "-n", "k8s.io", "images", "import", archive)
    n2.run("cp", "/etc/containerd/config.toml", "/root/before.toml")
    cluster.apply(*chart(registry), registry.secret(SYSTEM, KEYS))
    cluster.kubectl("label", "node", SECOND.name, "glowplug.dev/install=true")
    at_work = ("systemctl", "is-active", "--quiet", "glowplug-setup")
    wait_until(
        lambda: n2.run(*at_work, check=False).returncode == 0, INSTALLED_WITHIN_S, "the installer running"
    )
    cluster.kubectl("delete", "pod", "-n", SYSTEM, "--all", "--grace-period=0", "--force")

    def ready() -> bool:
        pods = cluster.pods(SYSTEM)
        return len(pods) == 1 and where(pods) == {SECOND.name} and is_ready(pods[0])

    try:
        wait_until(ready, INSTALLED_WITHIN_S, "the installer's pod ready")
    except TimeoutError as error:
        log = ("logs", "-n", SYSTEM, "--all-containers", "-l", "app.kubernetes.io/name=glowplug", "--tail=40")
        raise AssertionError(
            f"{error}\n{cluster.kubectl(*log, check=False)}"
            f"{cluster.kubectl('describe', 'pods', '-n', SYSTEM)[-3000:]}"
        ) from None
    assert n2.run("glowplug", "node", "status").returncode == 0
    assert 'log_format = "json"' in n2.run("cat", "/etc/glowplug/config.toml").stdout
    names = registry.secret(SYSTEM, KEYS)["data"]
    found = n2.run("stat", "-c", "%n %a %s", *(f"{ON_NODES}/{name}" for name in names)).stdout.splitlines()
    assert f"{ON_NODES}/fleet-secret 600 32" in found and len(found) == len(names)
    label = ("node", SECOND.name)
    wait_until(
        lambda: cluster.get(*label)["metadata"]["labels"].get("glowplug.dev/handler") == "true",
        COMES_WITHIN_S,
        "the node's label",
    )


def test_its_pod_may_be_deleted(cluster: Cluster, n2: Machine) -> None:
    """The agent continues, and the new pod finds everything there: containerd is not restarted."""
    before = n2.run("cat", "/run/unit-containerd.pid", "/run/unit-glowplug-agent.pid").stdout
    old = cluster.pods(SYSTEM)[0]["metadata"]["name"]
    cluster.kubectl("delete", "pod", "-n", SYSTEM, old)
    assert n2.run("glowplug", "status").returncode == 0

    def is_replaced() -> bool:
        pods = cluster.pods(SYSTEM)
        return len(pods) == 1 and pods[0]["metadata"]["name"] != old and is_ready(pods[0])

    wait_until(is_replaced, INSTALLED_WITHIN_S, "the installer's next pod")
    assert n2.run("cat", "/run/unit-containerd.pid", "/run/unit-glowplug-agent.pid").stdout == before


def test_a_pod_on_that_node_is_restored_and_reported(cluster: Cluster, n2: Machine, namespace: str) -> None:
    """By the agent that the DaemonSet installed, with the token of its pod."""
    template = pod_template("app", [server()], nodeSelector={"kubernetes.io/hostname": SECOND.name})
    cluster.apply(deployment(namespace, "app", template))
    cluster.ready(namespace, "app")
    cluster.scale(namespace, "app", 2)
    cluster.ready(namespace, "app", 2)
    assert cluster.outcomes(namespace, "app", 2) == ["server=cold:no-checkpoint", "server=restored"]
    assert {"Captured", "Restored"} <= set(cluster.events(namespace))


def test_a_node_is_warm_before_its_first_pod(
    cluster: Cluster, n2: Machine, namespace: str, registry: SharedRegistry
) -> None:
    """The first node captures and pushes; the DaemonSet `glowplug-warm` pulls on the second, which restores at once."""
    with registry.running(cluster.machine), cluster.configured(**registry.toml_keys()):
        try:
            template = pod_template("warmed", [server()], nodeSelector={"kubernetes.io/hostname": FIRST.name})
            template["metadata"]["annotations"]["glowplug.dev/registry"] = "push"
            cluster.apply(deployment(namespace, "warmed", template))
            cluster.ready(namespace, "warmed")
            wait_until(lambda: pushes(cluster) == ["pushed"], COMES_WITHIN_S, "the push")
            cluster.apply(*chart(registry, warm=["-n", namespace, "--label", "app=warmed"]))
            component = ("-l", "app.kubernetes.io/component=warm")

            def is_warm() -> bool:
                pods = cluster.get("pods", "-n", SYSTEM, *component)["items"]
                return where(pods) == {FIRST.name, SECOND.name} and all(map(is_ready, pods))

            wait_until(is_warm, COMES_WITHIN_S, "the pods of glowplug-warm")
            template = pod_template(
                "first", [server()], gate=False, nodeSelector={"kubernetes.io/hostname": SECOND.name}
            )
            cluster.apply(deployment(namespace, "first", template))
            cluster.ready(namespace, "first")
            assert cluster.outcomes(namespace, "first") == ["server=restored"]
        finally:
            cluster.kubectl("delete", "daemonset", "-n", SYSTEM, "glowplug-warm", "--ignore-not-found")


def pushes(cluster: Cluster) -> list[str]:
    """Their outcomes on the first node."""
    lines = cluster.run("cat", "/var/lib/glowplug/history.jsonl").stdout.splitlines()
    return [one["result"] for one in map(json.loads, lines) if one.get("op") == "push"]


def test_the_warm_node_is_preferred(cluster: Cluster, n2: Machine, namespace: str) -> None:
    """By a preferred affinity on the workload's label; without it, the scheduler spreads the pods."""
    label = (
        f"workload.glowplug.dev/{hashlib.sha256(f'{namespace}/{images.SERVER}'.encode()).hexdigest()[:16]}"
    )
    template = pod_template("first", [server()], nodeSelector={"kubernetes.io/hostname": SECOND.name})
    cluster.apply(deployment(namespace, "first", template))
    cluster.ready(namespace, "first")
    wait_until(
        lambda: label in cluster.get("node", SECOND.name)["metadata"]["labels"], COMES_WITHIN_S, "the label"
    )
    assert label not in cluster.labels()
    cluster.kubectl("delete", "deployment", "first", "-n", namespace)
    template = pod_template("spread", [server()], gate=False)
    template["metadata"]["annotations"]["glowplug.dev/capture"] = "never"  # it would make the first node warm
    cluster.apply(deployment(namespace, "spread", template, 4))
    assert FIRST.name in where(cluster.ready(namespace, "spread", 4))
    cluster.apply(
        deployment(
            namespace, "warm", pod_template("warm", [server()], gate=False, affinity=preferred(label)), 4
        )
    )
    assert where(cluster.ready(namespace, "warm", 4)) == {SECOND.name}
    assert cluster.outcomes(namespace, "warm", 4) == ["server=restored"] * 4


def preferred(label: str) -> Mapping[str, Any]:
    """As docs/observability.md writes it."""
    term = {"matchExpressions": [{"key": label, "operator": "Exists"}]}
    return {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": term}]
        }
    }


def test_the_daemonset_takes_it_off_again(cluster: Cluster, n2: Machine, registry: SharedRegistry) -> None:
    """Handler, agent, checkpoints, keys, labels; containerd's file is restored byte for byte."""
    cluster.apply(*chart(registry, action="uninstall"))

    def gone() -> bool:
        labels = cluster.get("node", SECOND.name)["metadata"]["labels"]
        ours = [name for name in labels if "glowplug.dev/" in name and name != "glowplug.dev/install"]
        return not ours and n2.run("test", "-e", "/opt/glowplug", check=False).returncode == 1

    try:
        wait_until(gone, INSTALLED_WITHIN_S, "nothing of Glowplug on the node")
    except TimeoutError as error:
        log = ("logs", "-n", SYSTEM, "--all-containers", "-l", "app.kubernetes.io/name=glowplug", "--tail=40")
        raise AssertionError(f"{error}\n{cluster.kubectl(*log, check=False)}") from None
    assert n2.run("cmp", "/etc/containerd/config.toml", "/root/before.toml").returncode == 0
    for path in ("/etc/glowplug", "/run/glowplug", "/run/glowplug-access", "/var/lib/glowplug/checkpoints"):
        wait_until(
            lambda path=path: n2.run("test", "-e", path, check=False).returncode == 1,  # type: ignore[misc]
            COMES_WITHIN_S,
            f"{path} gone",
        )

    def watches() -> bool:
        pods = cluster.pods(SYSTEM)
        return len(pods) == 1 and is_ready(pods[0])

    wait_until(watches, COMES_WITHIN_S, "the pod that stays")
    # The token is the agent's, which is no more: the pod that stays passes it on to nobody.
    assert n2.run("test", "-e", "/run/glowplug-access", check=False).returncode == 1
    cluster.kubectl("delete", "daemonset", "--all", "-n", SYSTEM)
    assert cluster.labels()["glowplug.dev/handler"] == "true"
