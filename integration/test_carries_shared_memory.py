"""/dev/shm as engines use it: semaphores that only a mapping holds, segments, files that nobody has open; whether it is
the pod's own, an emptyDir, or the node's.
"""

from typing import Any

from integration.captured import capture, captured
from integration.cri_specs import Mount
from integration.kubelet import PodDirectory
from integration.node import Node
from integration.pods import Pod, Pods

FEATURES = ("shm_map", "segment", "shm_closed", "semaphores_with_a_name", "semaphores_multiprocess")
ENV = {"WORKLOAD": ",".join(FEATURES)}
FREE = {"while_taken": [False, False], "when_free": True, "after": True}


def test_all_of_the_pods_own(agent: Node, pods: Pods) -> None:
    def mounts(pod: Pod) -> tuple[Mount, ...]:
        return (PodDirectory(agent, pod.spec.uid).empty_dir("scratch", "/scratch"),)

    expect_all(agent, pods, mounts)


def test_all_of_an_empty_dir_that_is_mounted_there(agent: Node, pods: Pods) -> None:
    """The usual way for PyTorch and vLLM: `emptyDir: {medium: Memory}` at /dev/shm."""

    def mounts(pod: Pod) -> tuple[Mount, ...]:
        directory = PodDirectory(agent, pod.spec.uid)
        return (directory.empty_dir("shm", "/dev/shm"), directory.empty_dir("scratch", "/scratch"))

    expect_all(agent, pods, mounts)


def expect_all(node: Node, pods: Pods, mounts: Any) -> None:
    before = captured(node, pods, env=ENV, mounts=mounts)
    for _ in range(2):
        pod, container = before.restored(node, pods)
        reported = container.state()
        for feature in ("segment", "shm_closed", "semaphores_with_a_name"):
            assert reported[feature] == before.state[feature], feature
        assert reported["segment"]["left"] == []
        assert set(reported["segment"]["same"].values()) == {True}
        assert reported["semaphores_with_a_name"] == {"opened": 2, "by_name": 2}
        assert reported["semaphores_multiprocess"] == FREE == before.state["semaphores_multiprocess"]
        assert reported["shm_map"]["same_by_name"]
        assert b"link_remap" not in container.exec("ls", "/dev/shm", "/tmp", "/scratch").stdout
        pod.remove()


def test_another_containers_closed_files_stay_where_they_are(agent: Node, pods: Pods) -> None:
    """The tmpfs is the pod's: beside other containers only what the captured one holds is its own."""
    env = {**ENV, "CASE": "beside-others"}
    pod = pods.run("shared-shm")
    container = pod.container(env=env)
    container.start()
    container.serves()
    other = pod.container("other", command=("sh", "-c", "echo mine >/dev/shm/other; exec sleep 1000"))
    other.start()
    done = capture(agent, pod.spec.namespace, "shared-shm", "main")
    assert done.returncode == 0, done.stderr
    pod.remove()
    pod = pods.run("shared-shm")
    container = pod.container(env=env)
    container.start()
    container.serves()
    assert container.state()["segment"]["same"]["segment"]
    listed = container.exec("ls", "/dev/shm").stdout
    assert b"other" not in listed and b"workload-segment" in listed


def test_the_nodes_own_is_never_written_to(agent: Node, pods: Pods, tmp_path: Any) -> None:
    """A hostPath there does not travel: a removed file of it that is open is reported, and nothing is written."""
    node_shm = tmp_path / "shm"
    node_shm.mkdir()
    env = {"CASE": "host-path", "WORKLOAD": "semaphores_with_a_name"}
    mounts = (Mount(container_path="/dev/shm", host_path=str(node_shm)),)
    pod = pods.run("host-path")
    container = pod.container(env=env, mounts=mounts)
    container.start()
    container.serves()
    done = capture(agent, pod.spec.namespace, "host-path")
    assert done.returncode != 0
    assert "/dev/shm" in done.stderr and "does not travel" in done.stderr
    assert {path.name for path in node_shm.iterdir()} == {"sem.workload", "token"}
    assert container.state()["semaphores_with_a_name"] == {"opened": 2, "by_name": 2}
