"""Promise 1: whatever goes wrong with a restore, the container starts cold, says why, and nothing is left behind.

Every test starts a pod for which there is a good checkpoint, with one thing broken; `pods` looks for leftovers."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from integration.captured import Captured, outcome
from integration.failures.made import starts_cold
from integration.faults import Faults
from integration.node import Node
from integration.pods import Pods


def test_with_nothing_broken_it_is_restored(node: Node, good: Captured, pods: Pods) -> None:
    """Or the other tests would show nothing."""
    _, container = good.again(pods)
    container.start()
    assert good.is_in(container)
    assert outcome(node, container) == "restored"


def test_the_agent_is_absent(node: Node, good: Captured, pods: Pods) -> None:
    node.stop_agent()
    assert starts_cold(node, pods, good)[1] == "cold:no-agent"


def test_the_agent_was_killed(node: Node, good: Captured, pods: Pods) -> None:
    node.stop_agent(signal.SIGKILL)
    assert starts_cold(node, pods, good)[1] == "cold:no-agent"


@contextmanager
def impostor(node: Node, answer: bytes | None) -> Iterator[None]:
    """In the agent's place: something that answers this and hangs up, or (None) never answers."""
    node.stop_agent()
    if os.path.exists(node.agent_socket):
        os.unlink(node.agent_socket)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(node.agent_socket)
        listener.listen()
        connections = []

        def serve() -> None:
            try:
                while True:
                    connection, _ = listener.accept()
                    connection.recv(65536)
                    if answer is None:
                        connections.append(connection)
                        continue
                    with connection:
                        connection.sendall(answer)
            except OSError:
                return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for connection in connections:
                connection.close()
            os.unlink(node.agent_socket)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "cold:agent-timeout"),
        (b"", "cold:agent-died"),
        (b'{"verdict": "match", "checkpo', "cold:agent-died"),
        (b"garbage\n", "cold:agent-bad-response"),
        (b"[1, 2]\n", "cold:agent-bad-response"),
        (b"[" * 100_000 + b"\n", "cold:agent-bad-response"),
        (b'{"error": "out of luck"}\n', "cold:agent-error"),
        (b'{"verdict": "match"}\n', "cold:agent-bad-response"),
        (b'{"verdict": "match", "checkpoint": "../../etc", "cache": "/"}\n', "fallback:lease"),
        (b'{"verdict": "match", "checkpoint": 7, "cache": []}\n', "cold:agent-bad-response"),
    ],
    ids=["hangs", "hangs-up", "dies", "garbage", "list", "deep", "error", "empty-plan", "path", "typed"],
)
def test_the_agent_answers_otherwise(
    node: Node, good: Captured, pods: Pods, answer: bytes | None, reason: str
) -> None:
    with impostor(node, answer):
        assert starts_cold(node, pods, good)[1] == reason


def small_image(node: Node, good: Captured) -> str:
    return f"{node.names.cache}/checkpoints/{good.checkpoint}/images/core-1.img"


def test_an_image_is_missing(node: Node, good: Captured, pods: Pods) -> None:
    os.unlink(small_image(node, good))
    assert starts_cold(node, pods, good)[1] == "cold:incomplete"


def test_an_image_is_truncated(node: Node, good: Captured, pods: Pods) -> None:
    os.truncate(small_image(node, good), 7)
    assert starts_cold(node, pods, good)[1] == "fallback:check"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("images/core-1.img", "fallback:check"),
        ("images/files.img", "fallback:check"),
        ("manifest.json", "cold:no-checkpoint"),
    ],
)
def test_a_file_has_a_flipped_byte(node: Node, good: Captured, pods: Pods, name: str, reason: str) -> None:
    with open(f"{node.names.cache}/checkpoints/{good.checkpoint}/{name}", "r+b") as file:
        file.seek(os.fstat(file.fileno()).st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    assert starts_cold(node, pods, good)[1] == reason


def test_a_file_of_the_layer_has_another_owner(node: Node, good: Captured, pods: Pods) -> None:
    """Its size is the same; only the layer's fingerprint says. That is the checkpoint's fault."""
    os.chown(f"{node.names.cache}/checkpoints/{good.checkpoint}/layer/tree/data/token", 1000, 1000)
    assert starts_cold(node, pods, good)[1] == "fallback:layer"
    assert starts_cold(node, pods, good)[1] == "cold:quarantined"


@pytest.mark.parametrize("damage", ["gone", "short", "unreadable"])
def test_memory_extents_are_damaged(node: Node, good: Captured, pods: Pods, damage: str) -> None:
    directory = f"{node.names.cache}/checkpoints/{good.checkpoint}/memory"
    (extent,) = (name for name in os.listdir(directory) if name.endswith(".extent"))
    path = f"{directory}/{extent}"
    if damage == "short":
        os.truncate(path, os.path.getsize(path) // 2)
    else:
        os.unlink(path)
    if damage == "unreadable":
        os.mkdir(path, 0o700)
    expected = "cold:incomplete" if damage == "gone" else "fallback:check"
    assert starts_cold(node, pods, good)[1] == expected


def test_a_damaged_checkpoint_is_quarantined(node: Node, good: Captured, pods: Pods) -> None:
    os.truncate(small_image(node, good), 7)
    starts_cold(node, pods, good)
    assert starts_cold(node, pods, good)[1] == "cold:quarantined"


def test_criu_is_missing(node: Node, faults: Faults, good: Captured, pods: Pods) -> None:
    with faults.without_criu():
        assert starts_cold(node, pods, good)[1] == "fallback:criu"
    # that was the node's fault, not the checkpoint's
    _, container = good.again(pods)
    container.start()
    assert outcome(node, container) == "restored"


@pytest.mark.parametrize("mode", ["fail", "killed"])
def test_criu_fails(node: Node, faults: Faults, good: Captured, pods: Pods, mode: str) -> None:
    with faults.set(mode):
        assert starts_cold(node, pods, good)[1] == "fallback:criu"


def test_criu_hangs_past_the_deadline(node: Node, faults: Faults, good: Captured, pods: Pods) -> None:
    with faults.set("hang"):
        assert starts_cold(node, pods, good)[1] == "fallback:deadline"


def test_the_restored_process_dies_before_create_returns(
    node: Node, faults: Faults, good: Captured, pods: Pods
) -> None:
    with faults.set("dies"):
        assert starts_cold(node, pods, good)[1] == "fallback:health"
