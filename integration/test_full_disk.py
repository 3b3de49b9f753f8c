"""Promise 1 on a full disk: the container starts cold all the same, and the disk holds nothing more afterwards.

The entire node is on a file system of its own (a tmpfs of limited size), filled except for a little.
"""

import glob
import os
import subprocess
from collections.abc import Iterator

import pytest

from integration import images, processes
from integration.captured import capture, captured, outcome
from integration.node import Node
from integration.pods import Pods
from integration.waiting import wait_until

SIZE = "1500m"
LEFT = 6 << 20
SMALL_FILES = "mkdir /many && cd /many && i=0; while [ $i -lt 3000 ]; do echo $i >$i; i=$((i+1)); done"
LARGE_FILE = "dd if=/dev/zero of=/large bs=1M count=16 2>/dev/null"


class SmallNode(Node):
    """A node on a small disk."""

    def __init__(self) -> None:
        super().__init__()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", self.names.state], check=True)
        self._note_owner()
        self.write_settings({"min_free_bytes": 0})

    def stop(self) -> list[str]:
        return [thing for thing in super().stop() if thing != f"mount {self.names.state}"]


@pytest.fixture
def node() -> Iterator[Node]:
    if os.geteuid() != 0:
        pytest.skip("a private containerd needs root")
    with SmallNode() as made:
        made.import_image(images.workload_image(), images.WORKLOAD_IMAGE)
        warm = Pods(made)
        warm.run(handler="runc").container().start()
        warm.remove_all()
        made.start_agent()
        yield made


def shims(node: Node) -> list[int]:
    """One process for each pod."""
    return [
        pid
        for pid in processes.pids_naming(node.names.socket)
        if processes.name(pid).split(" ")[0].endswith("containerd-shim-runc-v2")
    ]


def fill(node: Node) -> str:
    """Take all of the disk but LEFT; the file that takes it."""
    snapshots = f"{node.names.state}/root/io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs"
    wait_until(
        lambda: not glob.glob(f"{snapshots}/many") + glob.glob(f"{snapshots}/large"),
        30,
        "the removed pod's layer gone",
    )
    # A file takes its space until the last one who holds its mount has ended.
    wait_until(
        lambda: len(shims(node)) == len(node.cri.list_pod_sandbox()), 30, "the removed pod's shim ended"
    )
    path = f"{node.names.state}/filler"
    found = os.statvfs(node.names.state)
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - LEFT)
    return path


@pytest.mark.parametrize(
    ("wrote", "reason"),
    [(LARGE_FILE, "cold:no-disk"), (SMALL_FILES, "fallback:layer")],
    ids=["seen before", "met on the way"],
)
def test_there_is_no_space_for_the_layer(node: Node, pods: Pods, wrote: str, reason: str) -> None:
    checkpoint = captured(node, pods, name="web", before=lambda one: one.exec("sh", "-c", wrote))
    filler = fill(node)
    pod, container = checkpoint.again(pods)
    container.start()
    assert not checkpoint.is_in(container)
    assert outcome(node, container) == reason
    assert container.exec("sh", "-c", "ls / | grep -E '^(many|large)$'").exit_code == 1
    pod.remove()
    os.unlink(filler)
    # the disk was at fault, not the checkpoint
    _, container = checkpoint.again(pods)
    container.start()
    assert checkpoint.is_in(container)


def test_a_capture_that_does_not_fit_is_refused_with_the_numbers(node: Node, pods: Pods) -> None:
    container = pods.run(name="web").serving(env={"WORKLOAD_MEMORY_MB": "16"})
    before = container.state()["token"]
    filler = fill(node)
    done = capture(node, "default", "web")
    os.unlink(filler)
    assert done.returncode == 1
    assert "no space for " in done.stderr and " bytes free on the file system" in done.stderr
    assert container.state()["token"] == before
    assert os.listdir(f"{node.names.cache}/checkpoints") == []
