"""The model server's image: this machine's Python, wheels of the package index, the server. No image registry.

Made once and kept in .build/images; again when the server, its requirements, the base or this file change.
"""

import fcntl
import glob
import hashlib
import os
import shutil
import subprocess

from hack.demolib import child
from integration import images
from integration.oci_archive import ImageConfig, LayerTar, write_archive

IMAGE = "glowplug.demo/model-server:1"
PORT = 8000
SOURCES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "model_server")
SERVER = f"{SOURCES}/server.py"
REQUIREMENTS = f"{SOURCES}/requirements.txt"
LIBRARIES = "app/lib"


def model_server_image() -> str:
    """Path of the image's archive. Raises child.Failed when the wheels are not available."""
    base = images.python_layer()
    kept = f"{images.BUILD}/model-server-{_digest(base)}"
    with open(f"{images.BUILD}/model-server.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(kept):
            for older in glob.glob(f"{images.BUILD}/model-server-*"):
                shutil.rmtree(older)
            _make(f"{kept}.draft", base)
            os.rename(f"{kept}.draft", kept)
    return f"{kept}/image.tar"


def is_made() -> bool:
    """Whether it is there already."""
    return os.path.exists(f"{images.BUILD}/model-server-{_digest(images.python_layer())}")


def _digest(base: str) -> str:
    digest = hashlib.sha256(base.encode())
    for source in (SERVER, REQUIREMENTS, __file__):
        with open(source, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def _make(draft: str, base: str) -> None:
    os.mkdir(draft)
    try:
        _install(f"{draft}/wheels", f"{draft}/tmp")
        wheels, server = f"{draft}/wheels.tar", f"{draft}/server.tar"
        with LayerTar(wheels) as tar:
            for library in _cpp_library():
                tar.copy(library[1:], library)
            tar.tree(LIBRARIES, f"{draft}/wheels")
        with LayerTar(server) as tar:
            with open(SERVER, "rb") as file:
                tar.file("app/server.py", file.read())
            tar.directory("tmp", 0o1777)
        config = ImageConfig(
            ["/usr/bin/python3", "/app/server.py", str(PORT)],
            {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": f"/{LIBRARIES}"},
        )
        write_archive(f"{draft}/image.tar", IMAGE, [base, wheels, server], config)
        for used in (wheels, server):
            os.unlink(used)
        shutil.rmtree(f"{draft}/wheels")
        shutil.rmtree(f"{draft}/tmp")
    except BaseException:
        shutil.rmtree(draft)
        raise


def _install(target: str, temporary: str) -> None:
    """The wheels, unpacked and compiled as an image's build would; pip's drafts are beside them.

    rapidocr-onnxruntime says that it wants an older Python than Debian 13's, where it runs as well.
    """
    os.mkdir(temporary)
    child.python(
        *("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"),
        *("--no-deps", "--only-binary=:all:", "--no-compile", "--target", target),
        *("--ignore-requires-python", "--requirement", REQUIREMENTS),
        env={**os.environ, "TMPDIR": temporary},
    )
    # Byte code that carries the path which the file will have in the container.
    child.python("-m", "compileall", "-q", "-s", target, "-p", f"/{LIBRARIES}", target)


def _cpp_library() -> list[str]:
    """Paths of the C++ library, that wheels expect of every system and Python's packages don't ask for."""
    listing = subprocess.run(["dpkg", "-L", "libstdc++6"], check=True, capture_output=True, text=True).stdout
    return [path for path in listing.split() if "/libstdc++.so." in path and path.startswith("/usr/lib")]
