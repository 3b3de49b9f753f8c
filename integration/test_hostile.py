"""Pods that block everything that waits for them delay no other pod: no start, no capture, no waking.

By order, and by comparison in one run (hack/bench hostile measures): while all of them hang, other pods are prepared,
captured, restored and woken, and start as beside pods that do no harm.
"""

import os
import statistics
from collections.abc import Iterator

import pytest

from integration import hostile
from integration.captured import outcome, records
from integration.node import Node
from integration.pods import Container, Pods, generated_name
from integration.test_automatic import annotated, capture_of, captures, env, started
from integration.waiting import wait_until

WITHIN_S = 30.0


@pytest.fixture
def evil(agent: Node, pods: Pods) -> Iterator[list[Container]]:
    """All of them, running."""
    agent.stop_agent()
    agent.start_agent()
    made = [begin(pods) for begin in hostile.ALL.values()]
    hook = made[list(hostile.ALL).index("hanging_hook")]
    journal = f"{agent.names.run_dir}/capturing/{hook.id}/journal.json"
    wait_until(lambda: os.path.exists(journal), WITHIN_S, "the hook that hangs")
    yield made
    for one in made:
        hostile.unblock(one)
        one.pod.remove()
    agent.stop_agent()


def test_while_they_hang_others_are_prepared_captured_restored_and_woken(
    evil: list[Container], agent: Node, pods: Pods
) -> None:
    environment = env()
    said = annotated(after_restore="exec:touch /data/woken")
    first = pods.run(name=generated_name("first"), annotations=said).container(env=environment)
    wait_until(lambda: os.path.exists(f"{agent.names.run_dir}/prepared/{first.id}"), WITHIN_S, "its decision")
    first.start()
    (start,) = [one for one in records(agent, first.id) if "outcome" in one]
    assert start["outcome"] == "cold:no-checkpoint"
    assert "total_s" not in start  # it was decided ahead: no Python ran
    assert capture_of(agent, first.pod)["result"] == "captured"
    second = started(pods, environment, said)
    assert outcome(agent, second) == "restored"
    wait_until(lambda: woken(agent, second), WITHIN_S, "word of the waking")
    assert woken(agent, second) == ["done"]
    hanging = evil[list(hostile.ALL).index("hanging_hook")]
    assert captures(agent, hanging.pod) == []  # it still hangs


@pytest.mark.alone
def test_others_start_beside_them_as_beside_peaceful_pods(
    evil: list[Container], agent: Node, pods: Pods
) -> None:
    """Within the delays of a busy machine; a wait for one of them, or for a lock that it holds, takes a second and
    more."""
    beside = _median_start_s(pods)
    for one in evil:
        hostile.unblock(one)
        one.pod.remove()
    for _ in evil:
        hostile.peaceful(pods)
    assert beside < 3 * _median_start_s(pods) + 0.1


def _median_start_s(pods: Pods) -> float:
    took = []
    for _ in range(7):
        pod = pods.run(name=generated_name("other"))
        took.append(pod.container(command=("sleep", "1000")).start())
        pod.remove()
    return statistics.median(took)


def woken(node: Node, container: Container) -> list[str]:
    return [one["result"] for one in records(node, container.id) if one.get("event") == "after-restore"]
