"""From scheduled to Ready, by a pod's own conditions. Cold is plain runc (no RuntimeClass), the same pod otherwise.

One pod at a time, `turns` of each way; then so many at once. The pods are the demo's model server (hack/demolib), whose
readiness is looked at every second, the least that a kubelet can: a figure is up to a second too long.
"""

import json
import secrets
import statistics
import subprocess
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hack.clusterlib.control import kubectl, wait
from hack.clusterlib.machine import Failed, Machine
from hack.demolib import image

ENDS_WITHIN_S = 600.0


def measure(machine: Machine, turns: int, at_once: int) -> dict[str, object]:
    """Seconds, all of them, by way and number of pods."""
    machine.run("ctr", "-n", "k8s.io", "images", "import", image.model_server_image())
    run = Run(machine, f"bench-{secrets.token_hex(3)}")
    try:
        run.make_namespace()
        run.capture()
        figures: dict[str, object] = {"image": image.IMAGE}
        for way, handler in (("cold", ""), ("restored", "glowplug")):
            found = {"1": [s for _ in range(turns) for s in run.start(handler, 1)]}
            found[str(at_once)] = run.start(handler, at_once)
            figures[way] = found
    finally:
        run.remove_namespace()
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


class Run:
    """One bench, in a namespace of its own: what the agent has learned of an earlier one's pods is not about these."""

    def __init__(self, machine: Machine, namespace: str) -> None:
        self._machine = machine
        self._namespace = namespace

    def make_namespace(self) -> None:
        """With its service account."""
        self._apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._namespace}})
        query = ("get", "serviceaccount", "default")
        wait(lambda: self._kubectl(*query).returncode == 0, "the namespace's service account")

    def remove_namespace(self) -> None:
        """With all that is in it."""
        kubectl(self._machine, "delete", "namespace", self._namespace)

    def capture(self) -> None:
        """A first pod, until its capture is over. Raises Failed where that is no checkpoint.

        The node says it: nothing here needs an agent that reports to Kubernetes.
        """
        self._apply(_deployment("first", "glowplug", 1))
        wait(lambda: bool(self._captures()), "the first pod captured", ENDS_WITHIN_S)
        capture = self._captures()[0]
        if capture["result"] != "captured":
            raise Failed(f"the first pod was not captured: {capture['detail']}")
        self._remove("first")

    def _captures(self) -> list[dict[str, str]]:
        found = self._machine.run("glowplug", "history", "--captures", "-n", self._namespace, "--json")
        captures: list[dict[str, str]] = json.loads(found.stdout)
        return captures

    def start(self, handler: str, count: int) -> list[float]:
        """So many pods at once: seconds from scheduled to Ready of each. Raises Failed."""
        self._apply(_deployment("pods", handler, count))
        wait(lambda: len(self._ready("pods")) == count, f"{count} pods ready", ENDS_WITHIN_S)
        took = self._ready("pods")
        if handler:
            self._require_restored(count)
        self._remove("pods")
        return took

    def _require_restored(self, count: int) -> None:
        """Failed where a pod of ours started cold: the figure would be another one's."""
        for pod in self._pods("pods"):
            name = pod["metadata"]["name"]
            if self._kubectl("exec", name, "--", "test", "-e", "/run/glowplug/restored").returncode != 0:
                raise Failed(
                    f"pod {name}, one of {count}, was not restored: see `glowplug history` on the node"
                )

    def _ready(self, name: str) -> list[float]:
        """Seconds from scheduled to Ready of the pods that are."""
        found = []
        for pod in self._pods(name):
            conditions = {one["type"]: one for one in pod["status"].get("conditions", ())}
            if conditions.get("Ready", {}).get("status") == "True":
                scheduled, ready = (_moment(conditions[kind]) for kind in ("PodScheduled", "Ready"))
                found.append(ready - scheduled)
        return found

    def _pods(self, name: str) -> list[Any]:
        found = self._kubectl("get", "pods", "-l", f"app={name}", "-o", "json")
        pods: list[Any] = json.loads(found.stdout or '{"items": []}')["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def _remove(self, name: str) -> None:
        self._kubectl("delete", "deployment", name, "--wait=false")
        query = ("get", "pods", "-l", f"app={name}", "-o", "name")
        wait(lambda: not self._kubectl(*query).stdout.strip(), f"the pods {name} gone", ENDS_WITHIN_S)

    def _apply(self, thing: Mapping[str, object]) -> None:
        path = f"{self._machine.place.state}/bench.json"
        with open(path, "w") as file:
            json.dump(thing, file)
        done = self._kubectl("apply", "-f", path)
        if done.returncode != 0:
            raise Failed(done.stderr.strip().splitlines()[-1])

    def _kubectl(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return kubectl(self._machine, "-n", self._namespace, *words)


def _moment(condition: Mapping[str, str]) -> float:
    return datetime.fromisoformat(condition["lastTransitionTime"]).timestamp()


def _deployment(name: str, handler: str, count: int) -> dict[str, object]:
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
    annotations = {"glowplug.dev/ready": f"http://:{image.PORT}/healthz", "glowplug.dev/containers": "server"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": count,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}, "annotations": annotations}, "spec": pod},
        },
    }
