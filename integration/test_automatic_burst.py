"""Many pods of one kind at once: every start has its outcome, one capture is made, and the agent stays small.

GLOWPLUG_BURST pods (8 where it is not set).
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor

from integration.captured import records
from integration.node import Node
from integration.pods import Container, Pods, generated_name
from integration.test_automatic import annotated, env
from integration.waiting import wait_until

PODS = int(os.environ.get("GLOWPLUG_BURST", "8"))
AT_ONCE = 10  # as a kubelet starts them
AGENT_LIMIT_BYTES = 150 << 20
WITHIN_S = 240.0


def resident_bytes(pid: int) -> int:
    """The most that the process ever had (VmHWM in proc_pid_status(5))."""
    with open(f"/proc/{pid}/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def test_a_burst_of_pods_is_captured_once(agent: Node, pods: Pods) -> None:
    agent.stop_agent()
    agent.start_agent()  # what an agent before it had is none of this one's memory
    environment = env(WORKLOAD_WORK="2000000")

    def run(number: int) -> Container:
        pod = pods.run(name=generated_name("burst"), annotations=annotated())
        container = pod.container(env=environment)
        container.start()
        return container

    with ThreadPoolExecutor(AT_ONCE) as starters:
        made = list(starters.map(run, range(PODS)))
    starts = [[one for one in records(agent, container.id) if "outcome" in one] for container in made]
    assert [json.dumps(found) for found in starts if len(found) != 1] == []
    outcomes = [str(found[0]["outcome"]) for found in starts]
    # On a machine that has all its cores busy, an answer may come too late.
    assert set(outcomes) <= {"cold:no-checkpoint", "cold:agent-timeout", "restored"}, outcomes
    cold = {
        container.pod.spec.name
        for container, found in zip(made, outcomes, strict=True)
        if found != "restored"
    }

    def reported() -> dict[str, str]:
        found = [one for one in records(agent) if one.get("event") == "capture" and one["pod"] in cold]
        return {one["pod"]: one["result"] for one in found}

    results = wait_until(lambda: (found := reported()).keys() == cold and found, WITHIN_S, "word of each")
    assert results
    assert sorted(results.values()) == ["captured", *["not-needed"] * (len(cold) - 1)]
    assert agent.agent_pid
    assert resident_bytes(agent.agent_pid) < AGENT_LIMIT_BYTES
