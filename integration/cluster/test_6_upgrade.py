"""Two versions of Glowplug in turn on one node, under restored pods: none ends, and each serves what the other made.

GLOWPLUG_TEST_OTHER: a commit that takes the other version's place (a checkout with its history); by default it is this
checkout under another number.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hack.clusterlib import node
from hack.clusterlib.place import REPOSITORY

from integration.cluster.cluster import (
    COMES_WITHIN_S,
    CONFIG,
    Cluster,
    deployment,
    pod_template,
    server,
    wait_until,
)

pytestmark = pytest.mark.usefixtures("reports")
CURRENT = "/opt/glowplug/current"
UNIT = "/etc/systemd/system/glowplug-agent.service"
PARTS = ("pyproject.toml", "README.md", "LICENSE", "shim", "runtime_config", "hack")


@dataclass(frozen=True, slots=True)
class Versions:
    """Directories below /opt/glowplug/versions."""

    this: str
    other: str


def other_source(directory: str) -> None:
    """A tree to install from, of another version."""
    commit = os.environ.get("GLOWPLUG_TEST_OTHER")
    os.makedirs(directory)
    if commit:
        archive = subprocess.run(
            ["git", "-C", REPOSITORY, "archive", commit, *PARTS], check=True, capture_output=True
        )
        subprocess.run(["tar", "-xC", directory], input=archive.stdout, check=True)
        return
    for part in PARTS:
        copy = shutil.copytree if os.path.isdir(f"{REPOSITORY}/{part}") else shutil.copy
        copy(f"{REPOSITORY}/{part}", f"{directory}/{part}")
    path = f"{directory}/shim/glowplug/__init__.py"
    with open(path) as file:
        text = re.sub(r'^__version__ = ".*"', '__version__ = "99.0.0"', file.read(), flags=re.MULTILINE)
    with open(path, "w") as file:
        file.write(text)


def install(cluster: Cluster, source: str) -> None:
    """By the bootstrap of that source; containerd and the pods continue."""
    containerd = cluster.run("cat", "/run/unit-containerd.pid").stdout
    done = cluster.run("/bin/bash", f"{source}/hack/bootstrap-node.sh", check=False, online=True)
    assert done.returncode == 0, (done.stdout[-500:], done.stderr[-2000:])
    wait_until(lambda: answers(cluster), COMES_WITHIN_S, "the agent after its restart")
    assert cluster.run("cat", "/run/unit-containerd.pid").stdout == containerd


def answers(cluster: Cluster) -> bool:
    return cluster.run("glowplug", "status", check=False).returncode == 0


def current(cluster: Cluster) -> str:
    return os.path.basename(cluster.run("readlink", CURRENT).stdout.strip())


def switch(cluster: Cluster, runtime: str, agent: str) -> None:
    """The runtime of one version, the agent of another."""
    cluster.stop_agent()
    cluster.run("ln", "-sfnT", f"versions/{runtime}", CURRENT)
    program = f"/opt/glowplug/versions/{agent}/bin/glowplug"
    cluster.run("sed", "-i", f"s#^ExecStart=.*#ExecStart={program} agent#", UNIT)
    cluster.run("systemctl", "start", "glowplug-agent")
    wait_until(lambda: answers(cluster), COMES_WITHIN_S, "the agent")


def alive(cluster: Cluster, namespace: str, app: str, pods: list[Any]) -> None:
    """The same containers, which answer and take an exec; there may be more by now."""
    now = {
        pod["metadata"]["name"]: pod
        for pod in cluster.ready(namespace, app, len(cluster.pods(namespace, app)))
    }
    for pod in pods:
        name = pod["metadata"]["name"]
        assert container_of(now[name]) == container_of(pod)
        assert cluster.ask(now[name])["host"] == name
        assert cluster.kubectl("exec", "-n", namespace, name, "--", "hostname").strip() == name


def container_of(pod: Any) -> str:
    return str(pod["status"]["containerStatuses"][0]["containerID"])


def captured(cluster: Cluster, namespace: str, app: str) -> None:
    """A Deployment of a kind of its own, of which one pod is captured."""
    own = server(args=[app], command=["/usr/bin/python3", "/app/server.py"])
    cluster.apply(deployment(namespace, app, pod_template(app, [own])))
    cluster.ready(namespace, app)


def one_more_is_restored(cluster: Cluster, namespace: str, app: str) -> None:
    """And it ends well: its deletion is the runtime's, too."""
    before = len(cluster.pods(namespace, app))
    restored = cluster.outcomes(namespace, app, before).count("server=restored")
    cluster.scale(namespace, app, before + 1)
    cluster.ready(namespace, app, before + 1)
    assert cluster.outcomes(namespace, app, before + 1).count("server=restored") == restored + 1


@pytest.fixture(scope="module")
def source(cluster: Cluster) -> Iterator[str]:
    """The other version's tree."""
    directory = f"{cluster.machine.place.state}/other"
    other_source(directory)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def versions(cluster: Cluster, source: str) -> Iterator[Versions]:
    """Both installed, this one current again in the end."""
    this = current(cluster)
    install(cluster, source)
    other = current(cluster)
    assert other != this
    try:
        yield Versions(this, other)
    finally:
        switch(cluster, this, this)
        install(cluster, REPOSITORY)
        assert current(cluster) == this


def test_an_unknown_key_stops_it_before_anything_is_switched(cluster: Cluster) -> None:
    """A new agent would not start with it: the old one continues, and one line says what to do."""
    this, kept = current(cluster), cluster.run("cat", CONFIG).stdout
    node.write(cluster.machine, CONFIG, f"{kept}max_captures = 2\n")
    try:
        done = cluster.run("/bin/bash", f"{REPOSITORY}/hack/bootstrap-node.sh", check=False, online=True)
        assert done.returncode == 1 and "max_captures: no such key; there are: " in done.stderr
    finally:
        node.write(cluster.machine, CONFIG, kept)  # which `glowplug status` reads, too
    assert current(cluster) == this and answers(cluster)


def test_installed_in_turn_over_restored_pods(cluster: Cluster, namespace: str, source: str) -> None:
    """The other version, and this one again: pods of before live, and end; checkpoints of each serve both."""
    captured(cluster, namespace, "first")
    one_more_is_restored(cluster, namespace, "first")
    pods = cluster.ready(namespace, "first", 2)
    this = current(cluster)
    install(cluster, source)
    assert current(cluster) != this
    alive(cluster, namespace, "first", pods)
    one_more_is_restored(cluster, namespace, "first")
    captured(cluster, namespace, "second")
    install(cluster, REPOSITORY)
    assert current(cluster) == this
    alive(cluster, namespace, "first", pods)
    one_more_is_restored(cluster, namespace, "first")
    one_more_is_restored(cluster, namespace, "second")
    for app in ("first", "second"):
        cluster.scale(namespace, app, 0)
    assert cluster.failed() == []


@pytest.mark.parametrize("is_older_agent", [False, True], ids=["newer-agent", "older-agent"])
def test_a_runtime_and_an_agent_of_two_versions(
    cluster: Cluster, namespace: str, versions: Versions, is_older_agent: bool
) -> None:
    """As in the moment of an upgrade, and for longer: captured, restored, taken over by the other pair."""
    pairs = [(versions.this, versions.other), (versions.other, versions.this)]
    first, second = reversed(pairs) if is_older_agent else pairs
    switch(cluster, *first)
    captured(cluster, namespace, "first")
    one_more_is_restored(cluster, namespace, "first")
    pods = cluster.ready(namespace, "first", 2)
    switch(cluster, *second)
    alive(cluster, namespace, "first", pods)
    one_more_is_restored(cluster, namespace, "first")
    cluster.scale(namespace, "first", 0)
    assert cluster.failed() == []
