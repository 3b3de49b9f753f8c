"""stdin, stdout and stderr of a restored container are the new container's own: its log is a native one."""

import os
from collections.abc import Iterator

import pytest

from integration.captured import Captured, captured
from integration.cri_specs import Security
from integration.node import Node
from integration.pods import Container, Pods
from integration.waiting import wait_until

LOG_MS = 10


@pytest.fixture(scope="module")
def spoken(node: Node) -> Iterator[Captured]:
    """Captured after it had said the lines 0 to 99, with nothing to say in between."""
    node.ensure_agent()
    pods = Pods(node)
    yield captured(node, pods, before=lambda container: container.get("/say?lines=100"), name="speaks")
    pods.remove_all()


def said(container: Container, stream: str, word: str) -> list[int]:
    """The numbers of a word's lines in the container's log, in their order."""
    lines = [line for line in container.log() if line.stream == stream and line.text.startswith(word)]
    assert all(line.full for line in lines)
    return [int(line.text.removeprefix(word)) for line in lines]


def all_said(container: Container, count: int) -> list[int]:
    """As `said` of stdout, once so many lines are there."""
    wait_until(lambda: len(said(container, "stdout", "said ")) >= count, 10, f"{count} lines in the log")
    return said(container, "stdout", "said ")


def test_a_log_continues_with_the_next_line(node: Node, spoken: Captured, pods: Pods) -> None:
    """No line of the captured container's is reported again, none is lost."""
    _, container = spoken.restored(node, pods)
    container.get("/say?lines=100")
    assert all_said(container, 100) == list(range(100, 200))
    assert said(container, "stderr", "complained ") == list(range(100, 200))
    assert len(container.log()) == 200


def test_a_log_continues_after_it_was_rotated(node: Node, spoken: Captured, pods: Pods) -> None:
    pod, container = spoken.restored(node, pods)
    container.get("/say?lines=10")
    all_said(container, 10)
    path = f"{pod.spec.log_directory}/{container.spec.log_path}"
    os.rename(path, f"{path}.1")
    pod.cri.reopen_container_log(container.id)
    container.get("/say?lines=10")
    assert all_said(container, 10) == list(range(110, 120))


def test_lines_written_all_the_time_are_neither_lost_nor_doubled(agent: Node, pods: Pods) -> None:
    """By the captured container, which never notices, and by the restored one, which continues in the middle."""
    logs: list[Container] = []
    writer = captured(
        agent, pods, env={"WORKLOAD_LOG_MS": str(LOG_MS)}, before=logs.append, after=_waits_for_more
    )
    for stream, word in (("stdout", "out "), ("stderr", "err ")):
        reported = said(logs[0], stream, word)
        assert reported == list(range(len(reported)))
    _, container = writer.restored(agent, pods)
    wait_until(lambda: len(said(container, "stderr", "err ")) >= 50, 10, "fifty lines")
    for stream, word in (("stdout", "out "), ("stderr", "err ")):
        before, after = said(logs[0], stream, word), said(container, stream, word)
        assert after == list(range(after[0], after[0] + len(after)))
        assert writer.state["logged"] < after[0] <= before[-1] + 1


def _waits_for_more(container: Container) -> None:
    """The captured container continues writing."""
    last = said(container, "stdout", "out ")[-1]
    wait_until(lambda: said(container, "stdout", "out ")[-1] > last, 10, "another line")


def test_a_container_with_stdin_is_restored(agent: Node, pods: Pods) -> None:
    same = {"CASE": "stdin"}
    captured(agent, pods, env=same)  # the same workload without one: its checkpoint is none for the next
    reader = captured(agent, pods, env=same, stdin=True)
    _, container = reader.restored(agent, pods)
    kind = container.exec("stat", "-L", "-c", "%F", "/proc/1/fd/0").stdout
    assert kind == container.exec("stat", "-L", "-c", "%F", "/proc/1/fd/1").stdout == b"fifo\n"


@pytest.mark.parametrize("number", [1, 2])
def test_a_user_opens_the_streams_by_name_again(agent: Node, pods: Pods, number: int) -> None:
    """As `echo tick >/dev/stdout` does (checkpoint-restore/criu#2984): the new pipes belong to the container's user."""
    user = captured(agent, pods, env={"CASE": "streams by name"}, security=Security(run_as_user=1000))
    _, container = user.restored(agent, pods)
    wrote = container.exec("sh", "-c", f"echo by name >/proc/1/fd/{number}")
    assert (wrote.exit_code, wrote.stderr) == (0, b"")
    wait_until(lambda: any(line.text == "by name" for line in container.log()), 10, "the line in the log")
