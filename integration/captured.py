"""A captured workload: a pod that was captured and removed, and later pods of the same spec to compare with."""

import json
import secrets
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from glowplug import paths
from glowplug.outcomes import history
from integration.cri_specs import Mount
from integration.node import GLOWPLUG, Node
from integration.pods import Container, Pod, Pods

Record = dict[str, Any]
MountsOf = Callable[[Pod], tuple[Mount, ...]]


@dataclass(frozen=True, slots=True)
class Captured:
    """`state` is the workload's, from just before the capture; `fields` and `pod_fields` make its like."""

    checkpoint: str
    state: Mapping[str, Any]
    result: Mapping[str, Any]
    fields: Mapping[str, Any] = field(default_factory=dict)
    pod_fields: Mapping[str, Any] = field(default_factory=dict)
    mounts: MountsOf = lambda pod: ()

    def again(self, pods: Pods) -> tuple[Pod, Container]:
        """A new pod of the same spec and its container, not started."""
        pod = pods.run(**self.pod_fields)
        return pod, pod.container(**self.fields, mounts=self.mounts(pod))

    def restored(self, node: Node, pods: Pods) -> tuple[Pod, Container]:
        """The same, started from the checkpoint. Raises AssertionError with what was recorded otherwise."""
        pod, container = self.again(pods)
        container.start()
        found = records(node, container.id)
        assert [one["outcome"] for one in found if "outcome" in one] == ["restored"], found
        assert self.is_in(container)
        return pod, container

    def is_in(self, container: Container) -> bool:
        """Whether the container continues where the captured one was: all of its tokens are there."""
        return bool(container.state()["token"] == self.state["token"])


def capture(node: Node, namespace: str, pod: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`glowplug capture --json`, as a person would run it."""
    command = [
        GLOWPLUG,
        "capture",
        "--config",
        node.names.config,
        "--json",
        "--namespace",
        namespace,
        pod,
        *arguments,
    ]
    return subprocess.run(command, env=node.env, capture_output=True, text=True, timeout=120)


def captured(
    node: Node,
    pods: Pods,
    *,
    name: str = "pod",
    pod_fields: Mapping[str, Any] | None = None,
    before: Callable[[Container], object] = lambda container: None,
    after: Callable[[Container], object] = lambda container: None,
    mounts: MountsOf = lambda pod: (),
    **fields: Any,
) -> Captured:
    """Start a pod cold, capture it, remove it. Raises AssertionError when the capture fails.

    `before`, `after`: called with the container that runs, before and after the capture. `mounts`: its own and
    those of each later pod. Its CASE is drawn again where `env` has none, so that no checkpoint of another test
    is for it.
    """
    described = {"name": name, **(pod_fields or {})}
    fields["env"] = {"CASE": secrets.token_hex(4), **fields.get("env", {})}
    pod = pods.run(**described)
    container = pod.container(**fields, mounts=mounts(pod))
    container.start()
    container.serves()
    before(container)
    state = container.state()
    done = capture(node, pod.spec.namespace, name)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    after(container)
    pod.remove()
    return Captured(result["checkpoint"], state, result, fields, described, mounts)


def records(node: Node, container: str | None = None) -> list[Record]:
    """What was recorded, or only of this container id, in the spool and in the agent's journal, the oldest first."""
    with patch.object(paths, "RUN_DIR", node.names.run_dir):
        found = history.read(node.names.cache)
    return [dict(one) for one in found if container in (None, one.get("container_id"))]


def outcome(node: Node, container: Container) -> str:
    """The one outcome of the container's start. Raises AssertionError when there is none, or more than one."""
    found = [one["outcome"] for one in records(node, container.id) if "outcome" in one]
    assert len(found) == 1, found
    return str(found[0])
