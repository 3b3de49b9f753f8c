"""One cluster for all files, and nothing of it left behind."""

import glob
import os
import shutil
from collections.abc import Iterator

import pytest
from hack.clusterlib import control, node
from hack.clusterlib.machine import Machine
from hack.clusterlib.place import PROGRAMS, Place

from integration.cluster.cluster import Cluster

ASKED_FOR = "GLOWPLUG_TEST_CLUSTER"


def pytest_ignore_collect() -> bool | None:
    """Only `hack/test --cluster` asks for these."""
    return None if os.environ.get(ASKED_FOR) else True


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Up, without Glowplug on its node."""
    if not os.path.exists(f"{PROGRAMS}/kubelet"):
        pytest.skip("hack/setup_kubernetes has not been run")
    place = Place(f"/tmp/glowplug-cluster-{os.getpid()}")
    machine = Machine(place)
    try:
        machine.up()
        control.start(machine)
        node.start(machine, os.environ.get("GLOWPLUG_CONTAINERD") or "containerd")
        yield Cluster(machine)
    finally:
        kept = os.environ.get("GLOWPLUG_KEEP_LOGS")
        if kept:
            shutil.copytree(place.logs, kept, dirs_exist_ok=True)
            shutil.copytree(f"{place.state}/own/var/log", f"{kept}/node", dirs_exist_ok=True, symlinks=True)
        machine.down()
    assert machine.init is None and not os.path.exists(place.state)
    assert glob.glob(f"/sys/fs/cgroup/*{place.cgroup}") == []


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """One of the test's own, deleted afterwards."""
    name = request.node.name.split("[")[0].removeprefix("test_").replace("_", "-")[:40].strip("-")
    cluster.make_namespace(name)
    yield name
    cluster.delete_namespace(name)
