"""Pods of several containers: each is restored for itself, and none is disturbed by its neighbour's restore."""

import json
import os
import threading

from glowplug.containerd.cri import ExecResult
from glowplug.errors import ContainerdError
from integration import processes
from integration.captured import capture, captured, outcome
from integration.leaks import KEPT_READY
from integration.node import Node
from integration.pods import Container, Pod, Pods
from integration.test_automatic_killed import is_frozen
from integration.waiting import wait_until

PERIOD_S = 0.2
TIMEOUT_S = 60
"""A busy machine may be slow to answer: that the sidecar is never paused is looked at, not timed."""
IDLE = ("sh", "-c", "trap exit TERM; while :; do sleep 1; done")
PROBE = ("sh", "-c", "test -d /data && echo well")


def test_a_second_container_is_restored_beside_the_first(agent: Node, pods: Pods) -> None:
    """Two containers with a checkpoint each, captured from one pod by name."""
    pod = pods.run(name="both")
    first = pod.serving({"CASE": "both", "WORKLOAD": "unix_pair,shm_map"})
    second = pod.container("second", env={"CASE": "both", "WORKLOAD_PORT": "8100"})
    second.start()
    second.serves(8100)
    states = {"main": first.state(), "second": second.state(8100)}
    for name in ("main", "second"):
        done = capture(agent, "default", "both", name)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["container"] == name
    pod.remove()
    again = pods.run(name="both")
    restored = {
        one.spec.name: again.container(one.spec.name, env=dict(one.spec.env)) for one in (first, second)
    }
    for container in restored.values():
        container.start()
        assert outcome(agent, container) == "restored"
    assert restored["main"].state()["token"] == states["main"]["token"]
    assert restored["second"].state(8100)["token"] == states["second"]["token"]
    assert restored["main"].exec("sh", "-c", "ls /dev/shm").stdout.split() == [b"mapped", b"token"]


def test_one_of_two_is_restored_and_the_other_starts_cold(agent: Node, pods: Pods) -> None:
    before = captured(agent, pods, name="one-of-two")
    pod = pods.run(name="one-of-two")
    other = pod.container("other", command=IDLE)
    other.start()
    container = pod.container(**before.fields)
    container.start()
    assert before.is_in(container)
    assert outcome(agent, container) == "restored"
    assert outcome(agent, other) == "cold:no-checkpoint"
    assert other.exec("echo", "here").stdout == b"here\n"
    container.stop()
    assert other.status().state == "running"


class Prober(threading.Thread):
    """As a kubelet's exec probe, of which each is to be well; and whether its container was ever seen paused."""

    def __init__(self, container: Container) -> None:
        super().__init__(daemon=True)
        self._container = container
        self._ended = threading.Event()
        self.answers: list[bool] = []
        self.was_paused = False

    def run(self) -> None:
        while not self._ended.wait(PERIOD_S):
            self.was_paused |= is_frozen(self._container)
            try:
                answer = self._container.pod.cri.exec_sync(self._container.id, PROBE, TIMEOUT_S)
                self.answers.append(answer == ExecResult(b"well\n", b"", 0))
            except ContainerdError:
                self.answers.append(False)

    def end(self) -> None:
        self._ended.set()
        self.join()


def test_a_sidecar_s_exec_probe_survives_a_restore_and_a_capture_next_to_it(agent: Node, pods: Pods) -> None:
    before = captured(agent, pods, name="probed", env={"WORKLOAD_MEMORY_MB": "128"})
    pod = pods.run(name="probed")
    sidecar = pod.container("sidecar", command=IDLE)
    sidecar.start()
    prober = Prober(sidecar)
    prober.start()
    wait_until(lambda: prober.answers, 10, "a first probe")
    container = pod.container(**before.fields)
    container.start()
    assert before.is_in(container)
    assert capture(agent, "default", "probed", "main").returncode == 0
    probes = len(prober.answers)
    wait_until(lambda: len(prober.answers) > probes + 1, 10, "probes after the capture")
    prober.end()
    assert all(prober.answers), prober.answers
    assert not prober.was_paused
    assert sidecar.status().state == "running"


def test_probes_of_the_container_itself_work_from_its_first_moment(agent: Node, pods: Pods) -> None:
    before = captured(agent, pods)
    _, container = before.again(pods)
    container.start()
    assert container.exec(*PROBE) == ExecResult(b"well\n", b"", 0)


def test_nothing_of_ours_runs_for_a_pod(agent: Node, pods: Pods) -> None:
    """Below the shim there are the pause container, the restored processes, and nothing else."""
    before = captured(agent, pods, env={"WORKLOAD": "processes"})
    known = set(processes.all_pids())
    pod, container = before.restored(agent, pods)
    shim = parent(container.pid)
    assert processes.command_line(shim)[0].endswith("containerd-shim-runc-v2")
    assert sorted(below(shim) - {shim}) == sorted({*below(container.pid), *below(pause(pod))})
    own = {
        pid for pid in processes.pids_naming(agent.names.state) if pid not in known and not kept_ready(pid)
    }
    assert own == {shim}
    ours = ("glowplug", "criu", "runc", "python3 -IS")
    new = {pid: processes.name(pid) for pid in set(processes.all_pids()) - known - below(container.pid)}
    found = {pid: name for pid, name in new.items() if name.startswith(ours)}
    # What does not name the node could still be this pod's: it stays, where others' come and go.
    wait_until(lambda: not any(map(processes.is_alive, found)), 10, f"the end of {found}, or they are ours")


def kept_ready(pid: int) -> bool:
    """The agent's own: another one where the one before was busy."""
    return bool(KEPT_READY.search(" ".join(processes.command_line(pid))))


def pause(pod: Pod) -> int:
    return pod.cri.pod_sandbox_status(pod.id).pid


def parent(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def below(pid: int) -> set[int]:
    """A process and its descendants."""
    found, waiting = set(), [pid]
    while waiting:
        one = waiting.pop()
        found.add(one)
        for task in os.listdir(f"/proc/{one}/task"):
            with open(f"/proc/{one}/task/{task}/children") as file:
                waiting += [int(word) for word in file.read().split()]
    return found
