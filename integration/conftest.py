"""Fixtures: a node for the session, pods for a test, and the proof that a test left nothing behind."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from tests import drawn  # noqa: F401

from integration import images, sweep
from integration.node import Node
from integration.pods import Pods, pods_on

FIRST = (
    "test_zoo.py",
    "test_demo.py",
    "test_torture.py",
    "test_gpu_check.py",
    "test_kept.py",
    "test_commands.py",
    "test_explain.py",
    "test_hooks.py",
    "test_automatic.py",
    "test_two_nodes.py",
    "test_nodes_serve.py",
    "test_killed.py",
    "test_damage.py",
    "test_agent_killed_often.py",
    "test_full_disk.py",
    "test_memory.py",
)
"""Files that take longest, begun first: where several run at a time, none of them is the last that all wait for."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--zoo`: also those programs of integration/zoo that take long."""
    parser.addoption(
        "--zoo", action="store_true", help="all programs of integration/zoo, not only the quick ones"
    )


def pytest_configure() -> None:
    """End the session in order when it is terminated or interrupted, so that nodes are stopped.

    What a shell starts in the background has SIGINT ignored, and so would all that the tests start.
    """

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several files run at a time: unit tests in their order, then FIRST, then the others."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return

    def turn(item: pytest.Item) -> int:
        if not item.nodeid.startswith("integration/"):
            return 0
        return 1 + FIRST.index(item.path.name) if item.path.name in FIRST else 1 + len(FIRST)

    items.sort(key=turn)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory with a short path, unlike `tmp_path`: a socket's has at most 107 characters (unix(7))."""
    with tempfile.TemporaryDirectory(prefix="glowplug-") as made:
        yield Path(made)


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """A private node with the workload's image; no agent runs yet."""
    if os.geteuid() != 0:
        pytest.skip("a private containerd needs root")
    sweep.sweep_abandoned()
    with Node() as made:
        made.import_image(images.workload_image(), images.WORKLOAD_IMAGE)
        _warm(made)
        yield made


@pytest.fixture
def agent(node: Node) -> Node:
    """The node with its agent running, whatever the test before did to it."""
    node.ensure_agent()
    return node


@pytest.fixture
def pods(node: Node) -> Iterator[Pods]:
    """Makes pods; those that a test leaves are removed after it, and then nothing else may be left."""
    with pods_on(node) as made:
        yield made


def _warm(node: Node) -> None:
    """What containerd opens at its first pod and keeps, databases say, is open before anything counts."""
    made = Pods(node)
    made.run(handler="runc").container().start()
    made.remove_all()
