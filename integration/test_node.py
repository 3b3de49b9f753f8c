"""What the other tests rely on: containers under plain runc, on a private containerd."""

import os
import subprocess

import pytest

from integration import processes
from integration.leaks import holdings
from integration.node import Node
from integration.pods import Pods
from integration.waiting import wait_until
from integration.workload.features import FEATURES

INSIDE = ",".join(name for name in FEATURES if name not in ("tcp_outside", "open_file"))


def test_every_feature_of_the_workload_works_before_a_capture(pods: Pods) -> None:
    container = pods.run(handler="runc").serving({"WORKLOAD": INSIDE, "WORKLOAD_MEMORY_MB": "4"})
    container.state()
    second = container.state()
    assert second["token"]["layer"] != second["token"]["memory"]
    assert [name for name in FEATURES if "error" in second.get(name, {})] == []
    assert second["processes"]["requests"] == second["processes"]["child"]["requests"] == 2
    assert second["threads"]["counting"] == 8
    assert second["unix_pair"] == {"received": 1, "sent": 2}
    assert second["unix_server"] == second["tcp_inside"] == {"kept": True, "fresh": True}
    assert second["descriptors"] == {"ready": True, "event": 7, "pipe": "kept"}
    assert all(second["inotify"].values())
    assert second["memfd"]["same_by_descriptor"] and second["memfd"]["tries"] == 2
    assert second["shm_map"]["same_by_name"] and second["shm_map"]["tries"] == 2
    assert second["unlinked"]["added"] == 1
    assert "/data/deleted" not in second["layer"]
    assert second["layer"]["/data/made/below/hard"] == second["layer"]["/data/made/added"]
    assert container.get("/token", port=8001).decode() == second["token"]["memory"]


def test_logs_signals_exec_and_the_exit_code_are_native(pods: Pods) -> None:
    container = pods.run(handler="runc").serving({"WORKLOAD_LOG_MS": "5", "WORKLOAD_TERM_CODE": "7"})
    assert container.exec("kill", "-USR1", "1").exit_code == 0
    wait_until(lambda: container.state()["signals"]["SIGUSR1"] == 1, 5, "the signal counted")
    ended = container.stop(grace_s=10)
    assert (ended.exit_code, ended.reason) == (7, "Error")
    lines = [line.text for line in container.log() if line.stream == "stdout"]
    lines.remove(
        "terminated"
    )  # said by another thread than the one that counts, which may be in the middle of a line
    assert lines == [f"out {number}" for number in range(len(lines))]


def test_a_pod_goes_with_all_that_it_has(node: Node, pods: Pods) -> None:
    before = holdings(node)
    pod = pods.run(handler="runc")
    pod.serving()
    assert holdings(node).beyond(before)
    pod.remove()
    wait_until(lambda: not holdings(node).beyond(before), 10, "nothing left")


def test_pods_outlive_a_killed_containerd(node: Node, pods: Pods) -> None:
    container = pods.run(handler="runc").serving()
    pid = container.pid
    node.kill_containerd()
    assert container.pid == pid and processes.is_alive(pid)


def test_a_node_names_what_it_did_not_expect_and_removes_it() -> None:
    with pytest.raises(AssertionError, match="left: mount /"), Node() as node:
        stray = f"{node.names.state}/stray"
        os.mkdir(stray)
        subprocess.run(["mount", "-t", "tmpfs", "none", stray], check=True)
    assert not processes.mounts_under(node.names.state)
