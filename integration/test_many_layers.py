"""Images of as many layers as NVIDIA's: containerd mounts them from within their directory."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration import images
from integration.captured import captured
from integration.node import Node
from integration.oci_archive import ImageConfig, LayerTar, write_archive
from integration.pods import Pods

IMAGE = "glowplug.test/many-layers:1"
LAYERS = 100


@pytest.fixture
def image(node: Node, tmp_path: Path) -> Iterator[str]:
    """The workload's image with a layer for each of many files."""
    layers = images.workload_layers()
    for number in range(LAYERS):
        layers.append(f"{tmp_path}/{number}.tar")
        with LayerTar(layers[-1]) as tar:
            tar.file(f"srv/layers/{number}", str(number).encode())
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": "/app"}
    config = ImageConfig([f"/{images.PYTHON}", "-m", "integration.workload"], env)
    write_archive(f"{tmp_path}/image.tar", IMAGE, layers, config)
    node.import_image(f"{tmp_path}/image.tar", IMAGE)
    yield IMAGE
    node.ctr("images", "rm", "--sync", IMAGE)


def test_a_container_on_a_hundred_layers_is_restored(image: str, agent: Node, pods: Pods) -> None:
    env = {"WORKLOAD": "layer", "CASE": secrets.token_hex(4)}
    before = captured(agent, pods, image=image, env=env)
    _, container = before.restored(agent, pods)
    reported = container.state()
    assert reported["layer"] == before.state["layer"]
    listed = container.exec("ls", "/srv/layers").stdout.split()
    assert len(listed) == LAYERS
    root = next(
        line for line in container.exec("cat", "/proc/mounts").stdout.decode().splitlines() if " / " in line
    )
    assert "lowerdir=/" not in root  # relative, or this shows nothing
