"""Limits are the new pod's: active on the restored tree, seen by it, and too small a one is no match."""

import os
from collections.abc import Iterator

import pytest

from integration import processes
from integration.captured import Captured, captured, outcome, records
from integration.cri_specs import Resources
from integration.limits import needs_limits
from integration.node import Node
from integration.pods import Container, Pods

CAPTURED = Resources(memory_bytes=256 << 20, cpu_period_us=100_000, cpu_quota_us=150_000, cpu_shares=512)
LARGER = Resources(memory_bytes=384 << 20, cpu_period_us=100_000, cpu_quota_us=170_000, cpu_shares=700)
V1 = not os.path.exists("/sys/fs/cgroup/cgroup.controllers")
needs_v1 = pytest.mark.skipif(not V1, reason="here the controllers of limits belong to cgroup v1")
# hierarchy and file of cgroup v1 → what LARGER makes it
FILES = {
    "memory/memory.limit_in_bytes": LARGER.memory_bytes,
    "cpu/cpu.cfs_quota_us": LARGER.cpu_quota_us,
    "cpu/cpu.cfs_period_us": LARGER.cpu_period_us,
    "cpu/cpu.shares": LARGER.cpu_shares,
}


@pytest.fixture(scope="module")
def limited(node: Node) -> Iterator[Captured]:
    node.ensure_agent()
    pods = Pods(node)
    yield captured(node, pods, env={"WORKLOAD_MEMORY_MB": "64"}, resources=CAPTURED)
    pods.remove_all()


def with_resources(limited: Captured, pods: Pods, resources: Resources) -> Container:
    """A container like the captured one, except for its limits; started."""
    container = pods.run(**limited.pod_fields).container(**{**limited.fields, "resources": resources})
    container.start()
    return container


@needs_v1
def test_the_new_pod_s_limits_are_active(node: Node, limited: Captured, pods: Pods) -> None:
    container = with_resources(limited, pods, LARGER)
    assert outcome(node, container) == "restored"
    own = f"{node.names.cgroup_parent}/{container.id}"
    for name, wanted in FILES.items():
        hierarchy, _, file = name.partition("/")
        with open(f"/sys/fs/cgroup/{hierarchy}{own}/{file}") as found:
            assert int(found.read()) == wanted, name
    for directory in processes.cgroups_called(own):
        assert container.pid in processes.pids_in_cgroup(directory), directory


@needs_v1
def test_the_container_sees_its_own_cgroup_and_no_other(node: Node, limited: Captured, pods: Pods) -> None:
    container = with_resources(limited, pods, LARGER)
    assert outcome(node, container) == "restored"
    seen = container.exec("cat", *(f"/sys/fs/cgroup/{name}" for name in FILES)).stdout
    assert [int(line) for line in seen.split()] == list(FILES.values())
    roots = {
        line.split()[3]
        for line in container.exec("cat", "/proc/1/mountinfo").stdout.decode().splitlines()
        if " - cgroup " in line
    }
    assert roots == {f"{node.names.cgroup_parent}/{container.id}"}


@needs_v1
def test_memory_that_came_back_is_charged_to_the_new_pod(node: Node, limited: Captured, pods: Pods) -> None:
    container = with_resources(limited, pods, LARGER)
    assert outcome(node, container) == "restored"
    used = pods.node.cri.container_stats(container.id).memory_rss_bytes
    assert used is not None and 64 << 20 < used < LARGER.memory_bytes


@needs_limits
@pytest.mark.parametrize(
    ("resources", "slug"),
    [
        (Resources(memory_bytes=128 << 20, cpu_period_us=100_000, cpu_quota_us=150_000), "memory-limit"),
        (Resources(memory_bytes=256 << 20, cpu_period_us=100_000, cpu_quota_us=50_000), "cpu-limit"),
    ],
    ids=["memory", "cpu"],
)
def test_a_smaller_limit_is_no_match(
    node: Node, limited: Captured, pods: Pods, resources: Resources, slug: str
) -> None:
    container = with_resources(limited, pods, resources)
    assert not limited.is_in(container)
    assert outcome(node, container) == f"cold:{slug}"
    assert "at least" in records(node, container.id)[0]["detail"]


@needs_v1
def test_a_restored_container_that_takes_too_much_is_oom_killed(agent: Node, pods: Pods) -> None:
    """It grows past its limit after the restore; the kubelet hears OOMKilled as of any container."""
    greedy = captured(agent, pods, resources=Resources(memory_bytes=96 << 20, memory_swap_bytes=96 << 20))
    _, container = greedy.restored(agent, pods)
    container.get("/grow?mb=200")
    ended = container.ended()
    assert (ended.exit_code, ended.reason) == (128 + 9, "OOMKilled")


SHM_BYTES = 24 << 20


@needs_v1
def test_files_of_dev_shm_are_charged_to_the_pod(node: Node, pods: Pods) -> None:
    """And not to the service that containerd is in, of which the runtime is a part."""

    def fill(container: Container) -> None:
        wrote = container.exec("sh", "-c", f"head -c {SHM_BYTES} /dev/zero >/dev/shm/weights")
        assert wrote.exit_code == 0, wrote

    node.ensure_agent()
    server = captured(node, pods, before=fill)
    before = _own_shared_memory(node)
    _, container = server.restored(node, pods)
    assert container.exec("sh", "-c", "wc -c </dev/shm/weights").stdout.split() == [str(SHM_BYTES).encode()]
    assert _own_shared_memory(node) - before >= SHM_BYTES


def _own_shared_memory(node: Node) -> int:
    """Of the pods' group itself, without the containers' below it (memory.stat of cgroup v1)."""
    with open(f"/sys/fs/cgroup/memory{node.names.cgroup_parent}/memory.stat") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("shmem "))
