"""What the agent learns of a workload, seen by its owner: captures that no pod can use end, with the reason."""

import contextlib
import os
import secrets
from collections.abc import Iterator

import pytest

from integration.node import Node
from integration.pods import Pods
from integration.test_automatic import annotated, capture_of, env, started
from integration.test_explain import glowplug


@pytest.fixture
def backing_off(node: Node) -> Iterator[Node]:
    """Whose agent has learned nothing yet: the workload is that of other files' tests, too, whatever their values."""
    node.stop_agent()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{node.names.cache}/learned.json")
    node.write_settings({"failure_backoff": True})
    node.start_agent()
    yield node
    node.stop_agent()
    node.write_settings({})


def test_after_two_captures_without_a_restore_the_differing_part_is_reported(
    backing_off: Node, pods: Pods
) -> None:
    """A variable that is another in each pod: two are captured, the third one's owner reads why it is not."""
    environment = env()
    for _ in range(2):
        one = started(pods, {**environment, "SHARD": secrets.token_hex(4)}, annotated())
        assert capture_of(backing_off, one.pod)["result"] == "captured"
    third = started(pods, {**environment, "SHARD": secrets.token_hex(4)}, annotated())
    reported = capture_of(backing_off, third.pod)
    assert (reported["result"], reported["slug"]) == ("refused", "never-restored"), reported
    assert (
        "2 captures of this workload were never restored: its pods differ in env.SHARD" in reported["detail"]
    )
    shown = glowplug(backing_off, "explain", "-n", third.pod.spec.namespace, third.pod.spec.name)
    assert "its pods differ in env.SHARD" in shown
    assert "env SHARD" in shown  # the verdict on each checkpoint says the same
