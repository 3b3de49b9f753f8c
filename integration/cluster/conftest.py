"""One cluster for all files, and nothing of it left behind."""

import glob
import os
import shutil
import subprocess
import zlib
from collections.abc import Iterator

import pytest
from hack.clusterlib import control, node
from hack.clusterlib.machine import Machine
from hack.clusterlib.place import PROGRAMS, REPOSITORY, Place

from integration.cluster.cluster import Cluster, wait_until
from integration.cluster.installer_image import InstallerImage, made_meanwhile

RBAC = f"{REPOSITORY}/runtime_config/kustomize/base"
REQUEST = "GLOWPLUG_TEST_CLUSTER"
USED = "GLOWPLUG_CLUSTER"
"""A cluster that is up already, with Glowplug on its node: for a test alone. It stays up."""


def pytest_ignore_collect() -> bool | None:
    """Only `hack/test --cluster` asks for these."""
    return None if os.environ.get(REQUEST) else True


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Up, without Glowplug on its node."""
    if not os.path.exists(f"{PROGRAMS}/kubelet"):
        pytest.skip("hack/setup_kubernetes has not been run")
    if os.environ.get(USED):
        yield Cluster(Machine(Place(os.environ[USED])))
        return
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


@pytest.fixture(scope="session", autouse=True)
def installer_image(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InstallerImage | None]:
    """Begun at once where there is a test with a second node; None where there is none."""
    if not any("n2" in getattr(item, "fixturenames", ()) for item in request.session.items):
        yield None
        return
    with made_meanwhile(str(tmp_path_factory.mktemp("image"))) as image:
        yield image


@pytest.fixture(scope="session")
def reports(cluster: Cluster) -> None:
    """The agent writes to Kubernetes, with the rights that are shipped and no others."""
    for name in ("namespace.yaml", "rbac.yaml"):
        cluster.kubectl("apply", "-n", "glowplug-system", "-f", f"{RBAC}/{name}")
    account = ("serviceaccount", "glowplug-agent", "-n", "glowplug-system")
    wait_until(lambda: (cluster.get(*account) or {}).get("secrets"), 60, "the agent's token")
    secret = cluster.get(*account)["secrets"][0]["name"]
    token = cluster.get("secret", secret, "-n", "glowplug-system")["data"]["token"]
    with open(cluster.machine.place.kubeconfig("agent")) as file:
        before = file.read()
    head, _, _ = before.partition("token:")
    _, _, tail = before.partition("\ncontexts")
    decoded = subprocess.run(["base64", "-d"], input=token, capture_output=True, text=True, check=True).stdout
    path = "/etc/kubernetes/glowplug.conf"
    node.write(cluster.machine, path, f'{head}token: "{decoded}"}}}}]\ncontexts{tail}')
    cluster.configure(kubernetes=path, node_name="n1", min_free_bytes=0)
    wait_until(lambda: cluster.labels().get("glowplug.dev/handler") == "true", 60, "the node's label")


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """One of the test's own, which is being deleted afterwards. Of a parametrized one each: none is made again."""
    name = request.node.name.removeprefix("test_").partition("[")[0].replace("_", "-")[:40].strip("-")
    name = f"{name}-{zlib.crc32(request.node.nodeid.encode()):08x}"
    cluster.make_namespace(name)
    yield name
    cluster.delete_namespace(name, wait=False)
