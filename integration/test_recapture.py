"""A restored container can be captured like any other, and what was captured then be restored."""

import json

from integration.captured import Captured, capture, captured, outcome, records
from integration.cri_specs import Resources
from integration.node import Node
from integration.pods import Pods
from integration.test_automatic import annotated, capture_of, env, started

FEATURES = "layer,processes,threads,unix_pair,unix_server,tcp_inside,tcp_own_address,gone_linked,memfd,shm_map,inotify"


def test_three_generations(agent: Node, pods: Pods) -> None:
    """Each is captured from a restored container, and continues where that one was; the older ones still serve."""
    first = captured(agent, pods, env={"WORKLOAD": FEATURES, "WORKLOAD_MEMORY_MB": "8"})
    generations = [first]
    for number in range(1, 3):
        before = generations[-1]
        pod, container = before.restored(agent, pods)
        assert container.exec("sh", "-c", f"echo {number} >>/data/generations").exit_code == 0
        assert container.exec("kill", "-USR1", "1").exit_code == 0
        state = container.state()
        done = capture(agent, "default", pod.spec.name)
        assert done.returncode == 0, done.stderr
        assert container.state()["token"] == first.state["token"]  # it runs on
        pod.remove()
        result = json.loads(done.stdout)
        assert result["checkpoint"] not in {one.checkpoint for one in generations}
        generations.append(Captured(result["checkpoint"], state, result, before.fields, before.pod_fields))
    _, container = generations[-1].restored(agent, pods)
    assert container.exec("cat", "/data/generations").stdout == b"1\n2\n"
    reported = container.state()
    assert [name for name in FEATURES.split(",") if "error" in reported[name]] == []
    assert reported["signals"]["SIGUSR1"] == 2
    assert reported["processes"]["child"]["token"] == first.state["processes"]["child"]["token"]
    assert reported["unix_server"] == reported["tcp_inside"] == {"kept": True, "fresh": True}
    assert reported["tcp_own_address"] == {"address": container.pod.ip, "is": "open"}
    assert reported["gone_linked"]["token"] == first.state["gone_linked"]["token"]
    assert reported["threads"]["counting"] == first.state["threads"]["counting"]


def test_a_container_captured_twice_continues(agent: Node, pods: Pods) -> None:
    """The newer one is restored."""
    pod = pods.run(name="twice")
    container = pod.serving({"WORKLOAD": FEATURES, "CASE": "twice"})
    before = container.state()
    results = []
    for number in range(2):
        assert container.exec("sh", "-c", f"echo {number} >/data/number").exit_code == 0
        done = capture(agent, "default", "twice")
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout))
    assert container.state()["token"] == before["token"]
    pod.remove()
    latest = Captured(results[1]["checkpoint"], before, results[1], {"env": dict(container.spec.env)}, {})
    _, restored = latest.restored(agent, pods)
    assert restored.exec("cat", "/data/number").stdout == b"1\n"


def test_where_limits_were_raised_one_pod_is_captured_again(agent: Node, pods: Pods) -> None:
    """Its process sized itself by the old ones: a JVM's heap, GOMAXPROCS. Meanwhile the others are restored."""
    environment = env()
    small, large = Resources(memory_bytes=512 << 20), Resources(memory_bytes=1 << 30)
    first = started(pods, environment, annotated(), resources=small)
    checkpoint = capture_of(agent, first.pod)["checkpoint"]
    raised = started(pods, environment, annotated(), resources=large)
    assert outcome(agent, raised) == "cold:limits-raised"
    meanwhile = started(pods, environment, annotated(), resources=large)
    assert outcome(agent, meanwhile) == "restored"
    second = capture_of(agent, raised.pod)
    assert second["result"] == "captured"
    for resources, expected in ((large, second["checkpoint"]), (small, checkpoint)):
        again = started(pods, environment, annotated(), resources=resources)
        assert outcome(agent, again) == "restored"
        (start,) = [one for one in records(agent, again.id) if "outcome" in one]
        assert start["checkpoint"] == expected
