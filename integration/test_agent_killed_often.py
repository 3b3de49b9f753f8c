"""An agent that is killed again and again, at random moments of captures, hooks and restores: the table converges.

GLOWPLUG_KILLS rounds (6 where it is not set; `hack/kill-agent` makes a hundred), of which each starts a container of a
new workload and one that a checkpoint is for, and kills the agent at a moment drawn for it.
"""

import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from glowplug import paths
from glowplug.agent.loop.loop import LIST_EVERY_S
from integration.captured import outcome, records
from integration.node import Node
from integration.pods import Container, Pods
from integration.test_automatic import annotated, capture_of, env, started
from integration.waiting import wait_until

ROUNDS = int(os.environ.get("GLOWPLUG_KILLS", "6"))
SEED = int(os.environ.get("GLOWPLUG_SEED", "7"))
LATEST_S = 2.0
KEPT = 12
"""Containers at a time: a machine has only so much memory."""

SAID = annotated(
    before_capture="exec:sh -c 'echo x >>/data/before; sleep 0.2'",
    after_capture="exec:sh -c 'echo x >>/data/after'",
    after_restore="exec:sh -c 'sleep 0.2; echo x >>/data/woken'",
)


@pytest.mark.timeout(900 + 60 * ROUNDS)
def test_the_table_converges(agent: Node, pods: Pods) -> None:
    drawn = random.Random(SEED)
    environment = env()
    others = {*_captured(agent), *_made(agent)}
    assert capture_of(agent, started(pods, environment, SAID).pod)["result"] == "captured"
    cold: list[Container] = []
    restored: list[Container] = []
    for number in range(ROUNDS):
        agent.ensure_agent()
        cold.append(started(pods, env(), SAID))
        restored.append(started(pods, environment, SAID))
        time.sleep(drawn.uniform(0, LATEST_S))
        agent.stop_agent(signal.SIGKILL)
        if len(cold) == KEPT // 2 or number == ROUNDS - 1:
            agent.ensure_agent()
            _converges(agent, cold, restored, others)
            for container in (*cold, *restored):
                container.pod.remove()
            cold, restored = [], []


def _converges(node: Node, cold: list[Container], restored: list[Container], others: set[str]) -> None:
    """Within a list, and what its work takes. `others`: pods that tests before this one left in the history."""
    within_s = LIST_EVERY_S + 30.0
    wait_until(lambda: all(_is_decided(node, one) for one in cold), within_s, "word of each capture")
    woken = [one for one in restored if outcome(node, one) == "restored"]
    wait_until(lambda: all(_is_woken(node, one) for one in woken), within_s, "word of each waking")
    wait_until(lambda: not os.listdir(f"{node.names.run_dir}/capturing"), within_s, "the end of each capture")
    for times in (Counter(_captured(node)), Counter(_made(node))):
        assert [pod for pod, count in times.items() if count > 1 and pod not in others] == []
    assert all(one.exec("test", "-s", "/data/woken").exit_code == 0 for one in woken)
    assert all(one.exec("true").exit_code == 0 for one in cold)  # none is frozen


def _is_decided(node: Node, container: Container) -> bool:
    """Captured, or nobody needs it; or it was restored from another's."""
    pod = container.pod.spec.name
    found = [one["result"] for one in records(node) if one.get("event") == "capture" and one["pod"] == pod]
    return bool(found) or pod in _made(node)


def _captured(node: Node) -> list[str]:
    """The pod of each capture that the history has."""
    found = (one for one in records(node) if one.get("event") == "capture" and one["result"] == "captured")
    return [one["pod"] for one in found]


def _made(node: Node) -> list[str]:
    """The pod of each checkpoint in the cache."""
    return [manifest["pod"] for manifest in _manifests(node)]


def _is_woken(node: Node, container: Container) -> bool:
    return os.path.exists(paths.hooked(f"{node.names.runc_root}/k8s.io", container.id))


def _manifests(node: Node) -> list[dict[str, Any]]:
    return [
        json.loads(path.read_text()) for path in Path(node.names.cache).glob("checkpoints/*/manifest.json")
    ]
