"""Mounts are the new pod's: what the kubelet renews is no difference, what it changed is, carried volumes travel."""

import base64
import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from integration import images
from integration.captured import captured, outcome
from integration.cri_specs import Mount
from integration.kubelet import TOKENS, PodDirectory, write_atomically
from integration.node import Node
from integration.pods import Container, Pod, Pods

Mounts = Callable[[Pod], tuple[Mount, ...]]


def service_token(subject: str, number: int) -> str:
    """A JSON Web Token as the API server signs it, another one with each number."""
    claims = {
        "iss": "https://cluster",
        "sub": subject,
        "aud": ["api"],
        "exp": int(time.time()) + 3600 + number,
    }
    parts = ({"alg": "RS256", "kid": "k"}, claims)
    shown = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return f"{shown[0]}.{shown[1]}.signature{number}"


def again_with(node: Node, pods: Pods, before: Any, mounts: Mounts) -> Container:
    """A container of the captured one's spec with these mounts, started."""
    pod = pods.run(**before.pod_fields)
    container = pod.container(**before.fields, mounts=mounts(pod))
    container.start()
    return container


def test_a_rotated_token_and_an_unchanged_config_map_are_no_difference(agent: Node, pods: Pods) -> None:
    """And the new ones are what the restored process reads."""
    number = iter(range(10))
    tokens: list[str] = []

    def mounts(pod: Pod) -> tuple[Mount, ...]:
        directory = PodDirectory(agent, pod.spec.uid)
        tokens.append(service_token("system:serviceaccount:default:model", next(number)))
        return (
            directory.token(tokens[-1], f"kube-api-access-{pod.spec.uid[:5]}"),
            directory.config_map("settings", {"a.conf": "threads = 4\n", "b.conf": ""}, "/etc/settings"),
            directory.config_map("password", {"password": "xyzzy"}, "/etc/password", kind="secret"),
            directory.hosts("10.0.0.1", pod.spec.uid),
        )

    before = captured(agent, pods, mounts=mounts)
    pod, container = before.restored(agent, pods)
    assert len(set(tokens)) == len(tokens) == 2
    assert container.exec("cat", f"{TOKENS}/token").stdout.decode() == tokens[-1]
    assert pod.spec.uid.encode() in container.exec("cat", "/etc/hosts").stdout
    assert (
        container.exec("cat", "/etc/settings/a.conf", "/etc/password/password").stdout
        == b"threads = 4\nxyzzy"
    )


def test_a_mounted_file_that_changes_later_is_seen(agent: Node, pods: Pods) -> None:
    """The mount is a live one of the new pod."""

    def mounts(pod: Pod) -> tuple[Mount, ...]:
        directory = PodDirectory(agent, pod.spec.uid)
        return (directory.config_map("settings", {"a.conf": "one"}, "/etc/settings"),)

    before = captured(agent, pods, mounts=mounts)
    _, container = before.restored(agent, pods)
    write_atomically(container.spec.mounts[0].host_path, {"a.conf": "two"})
    assert container.exec("cat", "/etc/settings/a.conf").stdout == b"two"


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("configmap", {"a.conf": "two"}),
        ("secret", {"a.conf": "one", "b.conf": ""}),
        ("projected", {"b.conf": "one"}),
    ],
)
def test_a_changed_one_is_no_match(agent: Node, pods: Pods, kind: str, change: dict[str, str]) -> None:
    def mounts_of(files: dict[str, str]) -> Mounts:
        return lambda pod: (
            PodDirectory(agent, pod.spec.uid).config_map("settings", files, "/etc/settings", kind),
        )

    before = captured(agent, pods, mounts=mounts_of({"a.conf": "one"}))
    container = again_with(agent, pods, before, mounts_of(change))
    assert not before.is_in(container)
    assert outcome(agent, container) == "cold:no-checkpoint"


def test_a_script_of_a_config_map_runs_on(agent: Node, pods: Pods) -> None:
    """Its shell holds it open, by a name that the kubelet gives it in one pod only."""
    script = "python3 -m integration.workload\necho over\n"

    def mounts(pod: Pod) -> tuple[Mount, ...]:
        return (PodDirectory(agent, pod.spec.uid).config_map("scripts", {"run.sh": script}, "/scripts"),)

    before = captured(agent, pods, mounts=mounts, command=("sh", "/scripts/run.sh"))
    _, container = before.restored(agent, pods)
    container.get("/exit?code=0")
    container.ended()
    assert [line.text for line in container.log()][-1] == "over"


def test_an_empty_dir_travels(agent: Node, pods: Pods) -> None:
    def mounts(pod: Pod) -> tuple[Mount, ...]:
        return (PodDirectory(agent, pod.spec.uid).empty_dir("scratch", "/scratch"),)

    def fill(container: Container) -> None:
        script = "umask 077; mkdir -p below; echo kept >below/file; chown 1000:2000 below/file"
        assert container.exec("sh", "-c", f"cd /scratch; {script}").exit_code == 0

    before = captured(agent, pods, mounts=mounts, before=fill)
    _, container = before.restored(agent, pods)
    reported = container.exec(
        "stat", "-c", "%a %u %g", "/scratch/below/file", "/scratch/below", "/scratch"
    ).stdout
    assert reported == b"600 1000 2000\n700 0 0\n777 0 0\n"
    assert container.exec("cat", "/scratch/below/file").stdout == b"kept\n"
    with open(f"{container.spec.mounts[0].host_path}/below/file") as file:
        assert file.read() == "kept\n"


def test_an_empty_dir_that_is_not_empty_is_left_alone(agent: Node, pods: Pods) -> None:
    """An init container of the new pod, say, has put something there."""

    def mounts(pod: Pod) -> tuple[Mount, ...]:
        return (PodDirectory(agent, pod.spec.uid).empty_dir("scratch", "/scratch"),)

    before = captured(
        agent, pods, mounts=mounts, before=lambda found: found.exec("touch", "/scratch/captured")
    )

    def filled(pod: Pod) -> tuple[Mount, ...]:
        found = mounts(pod)
        with open(f"{found[0].host_path}/by another", "w") as file:
            file.write("mine")
        return found

    container = again_with(agent, pods, before, filled)
    assert not before.is_in(container)
    assert outcome(agent, container) == "cold:no-checkpoint"
    assert os.listdir(container.spec.mounts[0].host_path) == ["by another"]


def test_a_volume_of_the_image_travels(agent: Node, pods: Pods) -> None:
    """CRI fills a new one from the image; the captured one takes its place, deleted files and all."""
    agent.import_image(images.volume_image(), images.VOLUME_IMAGE)
    before = captured(agent, pods, image=images.VOLUME_IMAGE, env={"WORKLOAD": "layer"})
    _, container = before.restored(agent, pods)
    assert b"/data" in container.exec("cat", "/proc/mounts").stdout
    after = container.state()["layer"]
    assert after == before.state["layer"]
    assert "/data/deleted" not in after


def test_a_termination_message_is_the_new_pod_s(agent: Node, pods: Pods) -> None:
    def mounts(pod: Pod) -> tuple[Mount, ...]:
        return (PodDirectory(agent, pod.spec.uid).termination_log("main"),)

    before = captured(agent, pods, mounts=mounts)
    _, container = before.restored(agent, pods)
    container.get("/exit?code=4")
    assert container.ended().exit_code == 4
    with open(container.spec.mounts[0].host_path) as file:
        assert file.read() == "requested to exit with 4"


def test_a_directory_of_the_node_is_the_same_by_its_path(agent: Node, pods: Pods) -> None:
    models = f"{agent.names.state}/models"
    os.makedirs(models, exist_ok=True)
    with open(f"{models}/weights", "w") as file:
        file.write("large")
    before = captured(
        agent, pods, mounts=lambda pod: (Mount(container_path="/models", host_path=models, readonly=True),)
    )
    _, container = before.restored(agent, pods)
    assert container.exec("cat", "/models/weights").stdout == b"large"
    assert container.exec("touch", "/models/more").exit_code != 0
    other = again_with(agent, pods, before, lambda pod: (Mount(container_path="/models", host_path=models),))
    assert outcome(agent, other) == "cold:no-checkpoint"
