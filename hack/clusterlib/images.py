"""The images of the cluster's pods: OCI archives made from this machine's own packages (integration/images.py)."""

import os

from integration import images
from integration.node_names import PAUSE_IMAGE
from integration.oci_archive import ImageConfig, LayerTar, write_archive

PAUSE = PAUSE_IMAGE
SERVER = "cluster.test/server:1"
SERVER_2 = "cluster.test/server:2"
BUSYBOX = "cluster.test/busybox:1"
PROGRAM = f"{os.path.dirname(os.path.abspath(__file__))}/server.py"
_BUILD = f"{images.REPOSITORY}/.build/cluster-images"


def archives() -> list[str]:
    """Paths, made when they are not there or older than what they are made of."""
    made = [images.pause_image()]
    with open(PROGRAM, "rb") as file:
        program = file.read()
    for image, text in (
        (SERVER, program),
        (SERVER_2, program.replace(b'VERSION = "1"', b'VERSION = "2"')),
    ):
        made.append(_server(image, text))
    made.append(_busybox())
    return made


def _server(image: str, program: bytes) -> str:
    layer = f"{_BUILD}/layer.tar"
    path = f"{_BUILD}/{image.rpartition(':')[2]}.tar"
    if _is_newer(path, [PROGRAM, images.python_layer()]):
        return path
    os.makedirs(_BUILD, exist_ok=True)
    with LayerTar(layer) as tar:
        tar.file("app/server.py", program)
        tar.file("etc/passwd", b"root:x:0:0::/root:/bin/sh\nworker:x:1000:1000::/:/bin/sh\n")
        tar.directory("tmp", 0o1777)
    config = ImageConfig(["/usr/bin/python3", "/app/server.py"], {"PATH": "/usr/bin:/bin"})
    write_archive(path, image, [images.python_layer(), layer], config)
    os.unlink(layer)
    return path


def _busybox() -> str:
    path = f"{_BUILD}/busybox.tar"
    if not _is_newer(path, [images.python_layer()]):
        write_archive(
            path, BUSYBOX, [images.python_layer()], ImageConfig(["/bin/sh"], {"PATH": "/usr/bin:/bin"})
        )
    return path


def _is_newer(path: str, sources: list[str]) -> bool:
    return os.path.exists(path) and all(os.path.getmtime(path) > os.path.getmtime(one) for one in sources)
