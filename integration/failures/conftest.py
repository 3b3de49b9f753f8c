"""Fixtures of this folder."""

import os
import shutil
from collections.abc import Iterator

import pytest

from integration import images
from integration.captured import Captured, captured
from integration.faults import Faults
from integration.node import CRIU, Node
from integration.node_config import runc_program
from integration.pods import Pods

DEADLINE_S = 15.0
"""Long for a restore that a busy machine delays, short for a test that waits for its end."""


class FaultyNode(Node):
    """A node whose CRIU and whose runtime's runc are those of `faults`."""

    def __init__(self, faults: Faults) -> None:
        self._runc = faults.runc
        super().__init__(settings={"criu": faults.criu, "restore_deadline_s": DEADLINE_S})

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, "GLOWPLUG_RUNC": self._runc}


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Faults:
    return Faults(str(tmp_path_factory.mktemp("faults")), CRIU, runc_program())


@pytest.fixture(scope="module")
def node(faults: Faults) -> Iterator[Node]:
    """A node whose CRIU and runc fail on demand."""
    if os.geteuid() != 0:
        pytest.skip("a private containerd needs root")
    with FaultyNode(faults) as made:
        made.import_image(images.workload_image(), images.WORKLOAD_IMAGE)
        warm = Pods(made)
        warm.run(handler="runc").container().start()
        warm.remove_all()
        yield made


@pytest.fixture(scope="module")
def checkpoint(node: Node) -> Iterator[Captured]:
    node.ensure_agent()
    pods = Pods(node)
    yield captured(node, pods, name="web", env={"WORKLOAD_MEMORY_MB": "16"})
    pods.remove_all()


@pytest.fixture
def good(node: Node, checkpoint: Captured) -> Iterator[Captured]:
    """The checkpoint as it was captured, whatever a test did to it or made of it."""
    node.ensure_agent()
    path = f"{node.names.cache}/checkpoints/{checkpoint.checkpoint}"
    aside = f"{node.names.cache}/aside"
    shutil.copytree(path, aside, symlinks=True)
    yield checkpoint
    node.stop_agent()
    shutil.rmtree(path, ignore_errors=True)
    os.rename(aside, path)
    for judged in (f"{node.names.cache}/state", f"{node.names.run_dir}/outcomes"):
        shutil.rmtree(judged, ignore_errors=True)
    os.mkdir(f"{node.names.cache}/state", 0o700)
