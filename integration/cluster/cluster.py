"""What a test asks of the cluster: things applied, pods looked at, daemons stopped and started."""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from hack.clusterlib import control, images, node
from hack.clusterlib.machine import Machine
from hack.clusterlib.place import NODE_NAME

from integration import waiting

Value = TypeVar("Value")

COMES_WITHIN_S = 240.0
LOOKS_EVERY_S = 0.25
"""A look is a kubectl: without a pause, two of them would take a CPU from the cluster that is waited for."""
Thing = Mapping[str, Any]
CAPTURED = "glowplug.dev/captured"
_GET = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read().decode())"
CONFIG = "/etc/glowplug/config.toml"


def wait_until(condition: Callable[[], Value], deadline_s: float, what: str) -> Value:
    """The condition's first true value. Raises TimeoutError, which says what was waited for."""
    return waiting.wait_until(condition, deadline_s, what, LOOKS_EVERY_S)


class Cluster:
    """One node, `n1`, and a control plane."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def run(
        self, *words: str, check: bool = True, online: bool = False
    ) -> "subprocess.CompletedProcess[str]":
        """On the node."""
        return self.machine.run(*words, check=check, online=online)

    def kubectl(self, *words: str, check: bool = True) -> str:
        """As admin; its output."""
        done = control.kubectl(self.machine, *words)
        assert not check or done.returncode == 0, (words, done.stderr)
        return done.stdout

    def apply(self, *things: Thing) -> None:
        """Objects, as `kubectl apply` takes them."""
        path = f"{self.machine.place.state}/apply.json"
        with open(path, "w") as file:
            json.dump({"apiVersion": "v1", "kind": "List", "items": things}, file)
        self.kubectl("apply", "-f", path)

    def get(self, *words: str) -> Any:
        """An object; None where there is none."""
        done = control.kubectl(self.machine, "get", *words, "-o", "json")
        return json.loads(done.stdout) if done.returncode == 0 else None

    def make_namespace(self, name: str) -> None:
        """With its service account."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        wait_until(lambda: self.get("serviceaccount", "default", "-n", name), 60, "the service account")

    def delete_namespace(self, name: str, *, wait: bool = True) -> None:
        """With all that is in it. Without a wait it goes while the next test begins."""
        self.kubectl("delete", "namespace", name, "--wait=false")
        if not wait:
            return
        wait_until(lambda: self.get("namespace", name) is None, COMES_WITHIN_S, f"the namespace {name} gone")

    def pods(self, namespace: str, app: str = "") -> list[Any]:
        """Those that are not being deleted."""
        selected = ["-l", f"app={app}"] if app else []
        found = self.get("pods", "-n", namespace, *selected)
        return [pod for pod in found["items"] if "deletionTimestamp" not in pod["metadata"]]

    def ready(self, namespace: str, app: str, count: int = 1) -> list[Any]:
        """The pods, once there are so many and all are Ready."""

        def found() -> list[Any]:
            pods = self.pods(namespace, app)
            return pods if len(pods) == count and all(map(is_ready, pods)) else []

        try:
            return wait_until(found, COMES_WITHIN_S, f"{count} pods of {app} ready")
        except TimeoutError as error:
            raise AssertionError(
                f"{error}\n{self.kubectl('describe', 'pods', '-n', namespace)[-3000:]}"
            ) from None

    def outcomes(self, namespace: str, app: str, count: int = 1) -> list[str]:
        """The annotation of each pod, once all have it."""

        def found() -> list[str]:
            pods = self.pods(namespace, app)
            said = [pod["metadata"].get("annotations", {}).get("glowplug.dev/outcome", "") for pod in pods]
            return sorted(said) if len(said) == count and all(said) else []

        return wait_until(found, COMES_WITHIN_S, f"the outcomes of {count} pods of {app}")

    def scale(self, namespace: str, app: str, count: int) -> None:
        """To none: until the pods of before are gone."""
        self._set_replicas(namespace, app, count)
        query = ("pods", "-n", namespace, "-l", f"app={app}")
        if count == 0:
            wait_until(lambda: not self.get(*query)["items"], COMES_WITHIN_S, "no pods")

    def make_anew(self, namespace: str, app: str) -> None:
        """One pod in place of all that there are, which may still be ending while it starts."""
        self._set_replicas(namespace, app, 0)
        wait_until(lambda: not self.pods(namespace, app), COMES_WITHIN_S, "no pods but ending ones")
        self._set_replicas(namespace, app, 1)

    def _set_replicas(self, namespace: str, app: str, count: int) -> None:
        self.kubectl("scale", "-n", namespace, f"deployment/{app}", f"--replicas={count}")

    def events(self, namespace: str, about: str = "Pod") -> list[str]:
        """Reasons, the oldest first."""
        found = self.get("events", "-n", namespace, "--sort-by=.metadata.creationTimestamp")["items"]
        return [one["reason"] for one in found if one["involvedObject"]["kind"] == about]

    def ask(self, pod: Thing, path: str = "/") -> dict[str, Any]:
        """What the server in a pod answers."""
        url = f"http://{pod['status']['podIP']}:8000{path}"
        found: dict[str, Any] = json.loads(self.run("/usr/bin/python3", "-c", _GET, url).stdout)
        return found

    def container_ids(self, namespace: str) -> set[str]:
        """Of every pod there that is not being deleted."""
        found = self.pods(namespace)
        return {one["containerID"] for pod in found for one in pod["status"].get("containerStatuses", ())}

    def failed(self) -> list[str]:
        """Pods of all namespaces whose phase is Failed, or that wait for a node, and that nobody deleted."""
        found = self.get("pods", "--all-namespaces")["items"]
        return [
            pod["metadata"]["name"]
            for pod in found
            if pod["status"]["phase"] in ("Failed", "Pending") and "deletionTimestamp" not in pod["metadata"]
        ]

    # -- daemons --

    def restart_kubelet(self) -> None:
        """Until it has reported its node."""
        before = self._heartbeat()
        self.machine.stop("kubelet")
        node.start_kubelet(self.machine)
        wait_until(
            lambda: self._heartbeat() != before and self._is_ready(), COMES_WITHIN_S, "the kubelet back"
        )

    def restart_containerd(self) -> None:
        """Until it answers."""
        self.run("systemctl", "restart", "containerd")
        wait_until(lambda: self.run("ctr", "version", check=False).returncode == 0, 60, "containerd back")

    def stop_agent(self) -> None:
        """As a service manager does."""
        self.run("systemctl", "stop", "glowplug-agent")

    def start_agent(self) -> None:
        """Until it answers."""
        self.run("systemctl", "start", "glowplug-agent")
        wait_until(lambda: self.run("glowplug", "status", check=False).returncode == 0, 60, "the agent")

    def configure(self, **settings: str | int) -> None:
        """Keys of Glowplug's configuration, and the agent started again with them."""
        kept = [
            line
            for line in self.run("cat", CONFIG).stdout.splitlines()
            if line.split(" = ")[0] not in settings
        ]
        lines = [*kept, *(f"{name} = {json.dumps(value)}" for name, value in settings.items())]
        node.write(self.machine, CONFIG, "\n".join(lines) + "\n")
        self.stop_agent()
        self.start_agent()

    @contextmanager
    def configured(self, **settings: str | int) -> Iterator[None]:
        """`configure` for a while. Then the file is as it was, and so is the agent."""
        kept = self.run("cat", CONFIG).stdout
        try:
            self.configure(**settings)
            yield
        finally:
            self.stop_agent()
            node.write(self.machine, CONFIG, kept)
            self.start_agent()

    def labels(self) -> dict[str, str]:
        """The node's."""
        found: dict[str, str] = self.get("node", NODE_NAME)["metadata"]["labels"]
        return found

    def history(self) -> list[dict[str, Any]]:
        """Starts, the oldest first, as the node's agent knows them."""
        return list(json.loads(self.run("glowplug", "history", "--json").stdout))

    def _heartbeat(self) -> str:
        conditions = self.get("node", NODE_NAME)["status"]["conditions"]
        return next(str(one["lastHeartbeatTime"]) for one in conditions if one["type"] == "Ready")

    def _is_ready(self) -> bool:
        conditions = self.get("node", NODE_NAME)["status"]["conditions"]
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def is_ready(pod: Thing) -> bool:
    """Whether the pod's condition says so."""
    return condition(pod, "Ready") == "True"


def condition(pod: Thing, kind: str) -> str | None:
    """The status of one of the pod's conditions."""
    return next((one["status"] for one in pod["status"].get("conditions", ()) if one["type"] == kind), None)


def server(**more: Any) -> dict[str, Any]:
    """The container that is captured: a server with three seconds of warm-up."""
    return {
        "name": "server",
        "image": images.SERVER,
        "imagePullPolicy": "Never",
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "256Mi"}},
        **more,
    }


def pod_template(app: str, containers: Sequence[Thing], *, gate: bool = True, **spec: Any) -> dict[str, Any]:
    """A pod of the class, of which the container `server` is captured once it answers."""
    return {
        "metadata": {
            "labels": {"app": app},
            "annotations": {"glowplug.dev/ready": "http://:8000/", "glowplug.dev/containers": "server"},
        },
        "spec": {
            "runtimeClassName": "glowplug",
            "terminationGracePeriodSeconds": 2,
            **({"readinessGates": [{"conditionType": CAPTURED}]} if gate else {}),
            "containers": list(containers),
            **spec,
        },
    }


def deployment(namespace: str, app: str, template: Thing, replicas: int = 1) -> dict[str, Any]:
    """One of `apps/v1`."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": app, "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": app}}, "template": template},
    }
