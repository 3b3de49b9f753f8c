"""containerd's own checkpoints of a container of this handler, cold or restored: made, and the container continues.

They are runc's, through the handler's `checkpoint`; Glowplug's cache has no part in them.
"""

import os
import tarfile
from pathlib import Path

import pytest

from integration.captured import captured
from integration.node import Node
from integration.pods import Container, Pods


@pytest.fixture(params=["cold", "restored"])
def container(request: pytest.FixtureRequest, agent: Node, pods: Pods) -> Container:
    taken = captured(agent, pods, name=f"checkpoint-{request.param}", env={"WORKLOAD_MEMORY_MB": "8"})
    if request.param == "restored":
        return taken.restored(agent, pods)[1]
    return pods.run().serving()


def test_a_task_checkpoint(agent: Node, container: Container, tmp_path: Path) -> None:
    before = container.state()["token"]
    agent.ctr("tasks", "checkpoint", "--image-path", str(tmp_path), container.id)
    assert "inventory.img" in os.listdir(tmp_path)
    assert container.state()["token"] == before


def test_a_checkpoint_through_cri(agent: Node, container: Container, tmp_path: Path) -> None:
    if agent.version < (2,):
        pytest.skip("containerd before 2.0 has no CheckpointContainer")
    before = container.state()["token"]
    archive = tmp_path / "checkpoint.tar"
    agent.cri.checkpoint_container(container.id, str(archive))
    with tarfile.open(archive) as opened:
        assert "checkpoint/inventory.img" in opened.getnames()
    assert container.state()["token"] == before
