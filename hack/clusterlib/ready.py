"""From scheduled to Ready, by a pod's own conditions. Cold is plain runc (no RuntimeClass), the same pod otherwise.

One pod at a time, `turns` of each way; then so many at once. The pods are the demo's model server (hack/demolib), whose
readiness is looked at every second, the least that a kubelet can: a figure is up to a second too long.
"""

import json
import statistics
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hack.clusterlib.control import kubectl, wait
from hack.clusterlib.machine import Failed, Machine
from hack.demolib import image

NAMESPACE = "bench"
ENDS_WITHIN_S = 600.0


def measure(machine: Machine, turns: int, at_once: int) -> dict[str, object]:
    """Seconds, all of them, by way and number of pods."""
    machine.run("ctr", "-n", "k8s.io", "images", "import", image.model_server_image())
    _apply(machine, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    wait(lambda: _get(machine, "serviceaccount", "default") is not None, "the namespace's service account")
    figures: dict[str, object] = {"image": image.IMAGE}
    try:
        _captured(machine)
        for way, handler in (("cold", ""), ("restored", "glowplug")):
            found = {"1": [s for _ in range(turns) for s in _start(machine, handler, 1)]}
            found[str(at_once)] = _start(machine, handler, at_once)
            figures[way] = found
    finally:
        kubectl(machine, "delete", "namespace", NAMESPACE)
    return figures


def table(figures: Mapping[str, Any]) -> str:
    """As a person reads it: medians, and the slowest pod of the burst."""
    cold, restored = figures["cold"], figures["restored"]
    lines = [
        "| pods at once | cold: median, slowest | restored: median, slowest | times faster (medians) |",
        "|---|---|---|---|",
    ]
    for count in cold:
        before, after = statistics.median(cold[count]), statistics.median(restored[count])
        lines.append(
            f"| {count} | {before:.1f} s, {max(cold[count]):.1f} s | {after:.1f} s, {max(restored[count]):.1f} s "
            f"| {before / after:.1f} |"
        )
    return "\n".join(lines)


def _captured(machine: Machine) -> None:
    """A first pod, until there is a checkpoint of it."""
    _apply(machine, _deployment("first", "glowplug", 1, captured=True))
    wait(lambda: len(_ready(machine, "first")) == 1, "the first pod captured", ENDS_WITHIN_S)
    _remove(machine, "first")


def _start(machine: Machine, handler: str, count: int) -> list[float]:
    _apply(machine, _deployment("pods", handler, count, captured=False))
    wait(lambda: len(_ready(machine, "pods")) == count, f"{count} pods ready", ENDS_WITHIN_S)
    took = _ready(machine, "pods")
    if handler:
        _require_restored(machine, count)
    _remove(machine, "pods")
    return took


def _require_restored(machine: Machine, count: int) -> None:
    """Failed where a pod of ours started cold: the figure would be another one's."""
    for pod in _pods(machine, "pods"):
        name = pod["metadata"]["name"]
        test = ("exec", name, "--", "test", "-e", "/run/glowplug/restored")
        if kubectl(machine, "-n", NAMESPACE, *test).returncode != 0:
            raise Failed(f"pod {name}, one of {count}, was not restored: see `glowplug history` on the node")


def _ready(machine: Machine, name: str) -> list[float]:
    """Seconds from scheduled to Ready of the pods that are."""
    found = []
    for pod in _pods(machine, name):
        conditions = {one["type"]: one for one in pod["status"].get("conditions", ())}
        if conditions.get("Ready", {}).get("status") == "True":
            scheduled, ready = (_moment(conditions[kind]) for kind in ("PodScheduled", "Ready"))
            found.append(ready - scheduled)
    return found


def _moment(condition: Mapping[str, str]) -> float:
    return datetime.fromisoformat(condition["lastTransitionTime"]).timestamp()


def _pods(machine: Machine, name: str) -> list[Any]:
    found = kubectl(machine, "-n", NAMESPACE, "get", "pods", "-l", f"app={name}", "-o", "json")
    pods: list[Any] = json.loads(found.stdout or '{"items": []}')["items"]
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def _get(machine: Machine, kind: str, name: str) -> Any:
    found = kubectl(machine, "-n", NAMESPACE, "get", kind, name, "-o", "json")
    return json.loads(found.stdout) if found.returncode == 0 else None


def _remove(machine: Machine, name: str) -> None:
    kubectl(machine, "-n", NAMESPACE, "delete", "deployment", name, "--wait=false")
    query = ("-n", NAMESPACE, "get", "pods", "-l", f"app={name}", "-o", "name")
    wait(lambda: not kubectl(machine, *query).stdout.strip(), f"the pods {name} gone", ENDS_WITHIN_S)


def _apply(machine: Machine, thing: Mapping[str, object]) -> None:
    path = f"{machine.place.state}/bench.json"
    with open(path, "w") as file:
        json.dump(thing, file)
    done = kubectl(machine, "apply", "-f", path)
    if done.returncode != 0:
        raise Failed(done.stderr.strip().splitlines()[-1])


def _deployment(name: str, handler: str, count: int, *, captured: bool) -> dict[str, object]:
    pod: dict[str, object] = {
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "name": "server",
                "image": image.IMAGE,
                "imagePullPolicy": "Never",
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": image.PORT}, "periodSeconds": 1},
                "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "1Gi"}},
            }
        ],
    }
    if handler:
        pod["runtimeClassName"] = handler
    if captured:
        pod["readinessGates"] = [{"conditionType": "glowplug.dev/captured"}]
    annotations = {"glowplug.dev/ready": f"http://:{image.PORT}/healthz", "glowplug.dev/containers": "server"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": count,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}, "annotations": annotations}, "spec": pod},
        },
    }
