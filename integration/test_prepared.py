"""Cold starts that the agent decided while containerd made the container: as good as those decided at the start."""

import os
import secrets
from pathlib import Path

import pytest

from integration.captured import capture, outcome, records
from integration.node import Node
from integration.pods import Container, Pods
from integration.waiting import wait_until


@pytest.fixture(scope="module", autouse=True)
def agent(node: Node) -> None:
    node.ensure_agent()


def fresh(pods: Pods) -> Container:
    """Of a workload that no other test has captured."""
    return pods.run().container(env={"CASE": secrets.token_hex(4)})


def prepared(node: Node, container: Container) -> Path:
    return Path(node.names.run_dir, "prepared", container.id)


def wait_prepared(node: Node, container: Container) -> None:
    wait_until(lambda: prepared(node, container).exists(), 10, "the cold start prepared")


def test_a_prepared_start_is_edited_and_recorded_once(node: Node, pods: Pods) -> None:
    container = fresh(pods)
    wait_prepared(node, container)
    judged = (prepared(node, container) / "spec.json").read_bytes()
    edited = (prepared(node, container) / "edited.json").read_bytes()
    assert judged != edited
    container.start()
    (record,) = records(node, container.id)
    assert record["outcome"] == "cold:no-checkpoint"
    assert record["pod"] == container.pod.spec.name
    assert "total_s" not in record  # no Python ran that could have measured it
    with open(
        f"{node.names.state}/state/io.containerd.runtime.v2.task/k8s.io/{container.id}/config.json", "rb"
    ) as file:
        assert file.read() == edited
    wait_until(lambda: not prepared(node, container).exists(), 10, "what was used gone")
    container.serves()


def test_a_checkpoint_that_comes_before_the_start_is_restored(node: Node, pods: Pods) -> None:
    source = pods.run().serving(env={"CASE": "prepared"})
    later = pods.run().container(env={"CASE": "prepared"})
    wait_prepared(node, later)
    done = capture(node, source.pod.spec.namespace, source.pod.spec.name)
    assert done.returncode == 0, done.stderr
    source.pod.remove()
    later.start()
    assert outcome(node, later) == "restored"  # what follows a restore is a record, too


def test_what_came_too_late_is_forgotten(node: Node, pods: Pods) -> None:
    container = fresh(pods)
    wait_prepared(node, container)
    os.utime(prepared(node, container), (0, 0))  # a checkpoint came since: this start asks
    Path(node.names.run_dir, "published").touch()
    container.start()
    (record,) = records(node, container.id)
    assert "total_s" in record
    wait_until(lambda: not prepared(node, container).exists(), 10, "what was prepared gone")


def test_what_was_not_started_is_forgotten_with_its_container(node: Node, pods: Pods) -> None:
    container = fresh(pods)
    wait_prepared(node, container)
    container.pod.remove()
    wait_until(lambda: not prepared(node, container).exists(), 10, "what was prepared gone")


def test_no_start_of_another_handler_is_prepared(node: Node, pods: Pods) -> None:
    plain = pods.run(handler="runc").container()
    ours = fresh(pods)
    wait_prepared(node, ours)
    assert not prepared(node, plain).exists()
