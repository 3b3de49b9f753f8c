"""Many restores from one checkpoint: one after another, and at once. All are restored, and nothing is left."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from integration.captured import Captured, captured, outcome
from integration.leaks import assert_nothing_beyond, holdings
from integration.node import Node
from integration.pods import Pods

IN_A_ROW = 30
AT_ONCE = 4


@pytest.fixture(scope="module")
def server(node: Node) -> Iterator[Captured]:
    node.ensure_agent()
    pods = Pods(node)
    env = {"WORKLOAD": "processes,threads,layer,unix_server,tcp_inside,shm_map", "WORKLOAD_MEMORY_MB": "8"}
    yield captured(node, pods, name="served", env=env)
    pods.remove_all()


def temporary_files(node: Node) -> list[str]:
    """What is in the directories that restores and captures work in."""
    places = [f"{node.names.cache}/{name}" for name in ("drafts", "views", "trash")]
    places += [f"{node.names.run_dir}/restores", f"{node.names.run_dir}/captures"]
    return [f"{place}/{name}" for place in places if os.path.isdir(place) for name in os.listdir(place)]


def test_thirty_in_a_row(node: Node, server: Captured, pods: Pods) -> None:
    before = holdings(node)
    outcomes = []
    for _ in range(IN_A_ROW):
        pod, container = server.again(pods)
        container.start()
        assert server.is_in(container)
        outcomes.append(outcome(node, container))
        pod.remove()
    assert outcomes == ["restored"] * IN_A_ROW
    assert_nothing_beyond(node, before)
    assert temporary_files(node) == []


def test_four_at_once(node: Node, server: Captured, pods: Pods) -> None:
    before = holdings(node)
    made = [server.again(pods) for _ in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as starters:
        list(starters.map(lambda one: one[1].start(), made))
    assert [outcome(node, container) for _, container in made] == ["restored"] * AT_ONCE
    assert all(server.is_in(container) for _, container in made)
    assert len({pod.ip for pod, _ in made}) == AT_ONCE
    for pod, _ in made:
        pod.remove()
    assert_nothing_beyond(node, before)
    assert temporary_files(node) == []
