"""Limits of the pod's own cgroup, which its containers' specs don't show (Kubernetes 1.34, pod-level resources)."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from glowplug.host import cgroup
from integration.captured import Captured, captured, outcome
from integration.node import Node
from integration.pods import Pods
from integration.test_automatic import manifest

MIB = 1 << 20


@pytest.fixture
def parents(node: Node, pods: Pods) -> Iterator[dict[int, str]]:
    """A pod's cgroup for each memory limit. They go when the pods are gone."""
    made = {
        limit: f"{node.names.cgroup_parent}/limited-{limit}" for limit in (512 * MIB, 768 * MIB, 256 * MIB)
    }
    directories = [f"{mount}{path}" for path in made.values() for mount in cgroup.mountpoints()]
    for directory in directories:
        os.makedirs(directory, exist_ok=True)
    for limit, path in made.items():
        for mount in cgroup.mountpoints():
            for name in ("memory.max", "memory.limit_in_bytes"):
                if os.path.exists(file := f"{mount}{path}/{name}"):
                    Path(file).write_text(str(limit))
    yield made
    pods.remove_all()
    for directory in directories:
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(directory)


def test_a_pod_with_a_lower_limit_of_its_own_is_not_started_from_it(
    agent: Node, pods: Pods, parents: dict[int, str]
) -> None:
    """Of the container itself nothing is limited, in any of them."""
    before = captured(agent, pods, pod_fields={"cgroup_parent": parents[512 * MIB]})
    assert manifest(agent, before.checkpoint)["requirements"]["memory_limit"] == 512 * MIB
    found = {limit: _started(agent, pods, before, parent) for limit, parent in parents.items()}
    assert found == {512 * MIB: "restored", 768 * MIB: "restored", 256 * MIB: "cold:memory-limit"}


def _started(agent: Node, pods: Pods, before: Captured, parent: str) -> str:
    container = pods.run(cgroup_parent=parent).container(**before.fields)
    container.start()
    container.serves()
    return outcome(agent, container)
