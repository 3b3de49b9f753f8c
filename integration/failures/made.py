"""What the tests of this folder build."""

from integration.captured import Captured, outcome
from integration.node import Node
from integration.pods import Container, Pods


def starts_cold(node: Node, pods: Pods, good: Captured) -> tuple[Container, str]:
    """Start its like; it must be a new process, with nothing of ours in its log. It, and its outcome."""
    _, container = good.again(pods)
    container.start()
    assert not good.is_in(container)
    assert container.log() == []
    return container, outcome(node, container)
