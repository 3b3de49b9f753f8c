"""Processes, threads, signals, exit codes, exec, statistics: native for a restored container."""

from collections.abc import Iterator

import pytest

from integration.captured import Captured, captured
from integration.cri_specs import Resources
from integration.limits import needs_limits
from integration.node import Node
from integration.pods import Container, Pods
from integration.waiting import wait_until

TERM_CODE = 7


@pytest.fixture(scope="module")
def family(node: Node) -> Iterator[Captured]:
    """A process with a child, a grandchild in a session of its own, a zombie, children that come and go, threads."""
    node.ensure_agent()
    pods = Pods(node)
    env = {"WORKLOAD": "processes,ended,threads", "WORKLOAD_TERM_CODE": str(TERM_CODE)}
    yield captured(node, pods, env=env)
    pods.remove_all()


@pytest.fixture
def restored(node: Node, family: Captured, pods: Pods) -> Container:
    return family.restored(node, pods)[1]


def test_every_process_has_its_pid_its_memory_and_its_parent(family: Captured, restored: Container) -> None:
    before, after = family.state["processes"], restored.state()["processes"]
    for fact in ("pid", "session", "token"):
        assert after[fact] == before[fact]
        assert after["child"][fact] == before["child"][fact]
    assert after["child"]["session"] == after["child"]["pid"]
    assert after["child"]["requests"] > before["child"]["requests"]


def test_a_zombie_waits_on_with_its_code(family: Captured, restored: Container) -> None:
    assert family.state["ended"]["code"] == 3
    assert restored.state()["ended"] == family.state["ended"]


def test_every_thread_continues(family: Captured, restored: Container) -> None:
    before, after = family.state["threads"], restored.state()["threads"]
    assert before["counting"] == after["counting"] == len(after["counters"])
    assert all(now > then for now, then in zip(after["counters"], before["counters"], strict=True))


def test_a_signal_meets_its_handler(family: Captured, restored: Container) -> None:
    assert restored.exec("kill", "-USR1", "1").exit_code == 0
    wait_until(lambda: restored.state()["signals"]["SIGUSR1"] == 1, 5, "the signal counted")


def test_a_stop_is_a_sigterm_and_its_code_is_the_exit_code(restored: Container) -> None:
    ended = restored.stop(grace_s=10)
    assert (ended.exit_code, ended.reason) == (TERM_CODE, "Error")
    assert [line.text for line in restored.log() if line.stream == "stdout"] == ["terminated"]


@pytest.mark.parametrize(("code", "reason"), [(0, "Completed"), (3, "Error")])
def test_an_end_of_its_own_is_reported(restored: Container, code: int, reason: str) -> None:
    restored.get(f"/exit?code={code}")
    ended = restored.ended()
    assert (ended.exit_code, ended.reason) == (code, reason)
    assert ended.finished_at >= ended.started_at > 0


def test_a_kill_takes_all_processes(restored: Container) -> None:
    assert restored.stop(grace_s=0).exit_code == 128 + 9


def test_exec_runs_beside_the_restored_processes(family: Captured, restored: Container) -> None:
    """In the same namespaces, with the container's environment, the output on the right streams."""
    done = restored.exec("sh", "-c", 'echo "$WORKLOAD"; echo bad >&2; exit 5')
    features = f"{family.fields['env']['WORKLOAD']}\n".encode()
    assert (done.stdout, done.stderr, done.exit_code) == (features, b"bad\n", 5)
    seen = restored.exec("cat", "/data/token", "/proc/1/comm").stdout
    assert seen == f"{family.state['token']['layer']}python3\n".encode()
    for namespace in ("pid", "mnt", "net", "ipc", "uts", "cgroup"):
        reported = restored.exec("ls", "-l", f"/proc/self/ns/{namespace}", f"/proc/1/ns/{namespace}").stdout
        own, first = (line.split()[-1] for line in reported.splitlines())
        assert own == first, namespace


def test_exec_ends_at_its_timeout(restored: Container) -> None:
    cri = restored.pod.cri
    with pytest.raises(Exception, match=r"timeout|deadline"):
        cri.exec_sync(restored.id, ["sleep", "60"], timeout_s=1)
    assert restored.state()["processes"]["child"]["requests"]


@needs_limits
def test_statistics_are_of_the_restored_tree(restored: Container) -> None:
    first = restored.pod.cri.container_stats(restored.id)
    assert first.memory_working_set_bytes and first.memory_working_set_bytes > 4 << 20
    assert first.cpu_ns is not None
    assert restored.exec("sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").exit_code == 0
    second = restored.pod.cri.container_stats(restored.id)
    assert second.cpu_ns is not None and second.cpu_ns > first.cpu_ns


@needs_limits
def test_limits_can_be_changed_later(node: Node, restored: Container) -> None:
    restored.pod.cri.update_container_resources(restored.id, Resources(memory_bytes=512 << 20))
    found = restored.exec(
        "sh", "-c", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"
    )
    assert found.stdout == f"{512 << 20}\n".encode()
