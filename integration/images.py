"""The images that tests run, built from this machine's own Debian packages and kept in .build/images.

`pause` for sandboxes (a static busybox), and `workload`: Python, busybox and the program in
integration/workload.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace

from integration.node_names import PAUSE_IMAGE
from integration.oci_archive import ImageConfig, LayerTar, write_archive

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = f"{REPOSITORY}/.build/images"
BUSYBOX = f"{REPOSITORY}/.build/busybox/bin/busybox"
WORKLOAD = f"{REPOSITORY}/integration/workload"
WORKLOAD_IMAGE = "glowplug.test/workload:1"
VOLUME_IMAGE = "glowplug.test/workload-volume:1"
PYTHON = "usr/bin/python3"
# Of the packages that python3 depends on, directly or not, those whose names start so.
PYTHON_PACKAGES = ("python3", "lib", "zlib")
NEVER_USED = ("/share/", "/ensurepip/", "/idlelib/", "/lib2to3/", "/pydoc_data/", "/tkinter/", "/turtledemo/")


def pause_image() -> str:
    """Path of the archive of the sandboxes' image; made when it is not there."""
    with _Kept("pause", [BUSYBOX, __file__]) as kept:
        if not kept.is_there:
            layer = f"{kept.draft}/layer.tar"
            with LayerTar(layer) as tar:
                tar.copy("bin/busybox", BUSYBOX)
            config = ImageConfig(["/bin/busybox", "sleep", "1000000000"])
            write_archive(f"{kept.draft}/image.tar", PAUSE_IMAGE, [layer], config)
    return f"{kept.directory}/image.tar"


def workload_image() -> str:
    """Path of the archive of the test workload's image; made when it is not there."""
    return f"{_workload_images()}/image.tar"


def workload_layers() -> list[str]:
    """Paths of that image's layers, the lowest first."""
    return [python_layer(), f"{_workload_images()}/program.tar"]


def volume_image() -> str:
    """The same image, but that it declares /data to be a volume."""
    return f"{_workload_images()}/volume.tar"


def _workload_images() -> str:
    """The directory that both are in."""
    sources = [f"{WORKLOAD}/{name}" for name in sorted(os.listdir(WORKLOAD)) if name.endswith(".py")]
    with _Kept("workload", [BUSYBOX, f"/{PYTHON}", __file__, *sources]) as kept:
        if not kept.is_there:
            program = f"{kept.draft}/program.tar"
            with LayerTar(program) as tar:
                tar.file("app/integration/__init__.py", b"")
                for source in sources:
                    with open(source, "rb") as file:
                        tar.file(f"app/integration/workload/{os.path.basename(source)}", file.read())
                tar.file("etc/passwd", b"root:x:0:0::/root:/bin/sh\nworker:x:1000:1000::/:/bin/sh\n")
                tar.file("etc/group", b"root:x:0:\nworker:x:1000:\n")
                tar.file("data/original", b"from the image\n")
                tar.file("data/deleted", b"from the image\n")
                tar.file("data/opaque/old", b"from the image\n")
                tar.file("data/opaque/below/old", b"from the image\n")
                tar.file("srv/gone/image", b"from the image\n")
                tar.file("srv/gone/copied", b"from the image\n")
                tar.file("srv/still/file", b"from the image\n")
                tar.directory("tmp", 0o1777)
            config = ImageConfig(
                [f"/{PYTHON}", "-m", "integration.workload"],
                {
                    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "PYTHONPATH": "/app",
                },
            )
            layers = [python_layer(), program]
            write_archive(f"{kept.draft}/image.tar", WORKLOAD_IMAGE, layers, config)
            config = replace(config, volumes=["/data"])
            write_archive(f"{kept.draft}/volume.tar", VOLUME_IMAGE, layers, config)
    return kept.directory


def python_layer() -> str:
    """Path of a layer tar with a root file system: this machine's Python 3, its libraries, and busybox."""
    with _Kept("python", [BUSYBOX, f"/{PYTHON}", __file__]) as kept:
        if not kept.is_there:
            with LayerTar(f"{kept.draft}/layer.tar") as tar:
                for directory in ("bin", "sbin", "lib", "lib64"):
                    tar.link(directory, f"usr/{directory}")
                for directory in ("dev", "proc", "sys", "root", "run", "var"):
                    tar.directory(directory)
                tar.copy("usr/bin/busybox", BUSYBOX)
                for applet in _applets():
                    tar.link(f"usr/bin/{applet}", "busybox")
                for path in _python_files():
                    tar.copy(path[1:], path)
    return f"{kept.directory}/layer.tar"


def _applets() -> list[str]:
    listing = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True).stdout
    return [applet for applet in listing.split() if applet != "busybox"]


def _python_files() -> list[str]:
    """Files of the packages behind python3, by their names since /lib became a link to /usr/lib.

    Byte code is taken along where it is there: without it every container would compile its imports.
    """
    files: set[str] = set()
    for package in _dependencies("python3"):
        listing = subprocess.run(["dpkg", "-L", package], check=True, capture_output=True, text=True).stdout
        for path in listing.splitlines():
            if any(part in path for part in NEVER_USED) or not os.path.lexists(path):
                continue
            real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
            if os.path.isdir(real) and not os.path.islink(real):
                continue
            files.add(real)
            code = f"{os.path.dirname(real)}/__pycache__/{os.path.basename(real)[:-3]}.{_cache_tag()}.pyc"
            if real.endswith(".py") and os.path.exists(code):
                files.add(code)
    return sorted(file for file in files if file.startswith("/usr/"))


def _cache_tag() -> str:
    return sys.implementation.cache_tag or ""


def _dependencies(package: str) -> list[str]:
    """A package and those it depends on, as dpkg knows them."""
    found: set[str] = set()
    wanted = [package]
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        query = ["dpkg-query", "-W", "-f", "${db:Status-Status}|${Pre-Depends},${Depends}", name]
        answer = subprocess.run(query, capture_output=True, text=True).stdout
        status, _, depends = answer.partition("|")
        if status != "installed":
            continue  # a virtual package, or an alternative that this machine did not take
        found.add(name)
        for clause in depends.replace("|", ",").split(","):
            other = clause.split("(")[0].split(":")[0].strip()
            if other.startswith(PYTHON_PACKAGES):
                wanted.append(other)
    return sorted(found)


class _Kept:
    """One made thing in .build/images, again when a file that it comes from changes; one maker at a time."""

    def __init__(self, name: str, sources: list[str]) -> None:
        self._name = name
        digest = hashlib.sha256()
        for source in sources:
            status = os.stat(source)
            digest.update(f"{source} {status.st_size} {status.st_mtime_ns}\n".encode())
        self.directory = f"{BUILD}/{name}-{digest.hexdigest()[:12]}"
        self.draft = f"{self.directory}.draft"

    @property
    def is_there(self) -> bool:
        return os.path.exists(self.directory)

    def __enter__(self) -> "_Kept":
        os.makedirs(BUILD, exist_ok=True)
        self._lock = os.open(f"{BUILD}/{self._name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        if not self.is_there:
            shutil.rmtree(self.draft, ignore_errors=True)
            os.mkdir(self.draft)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if not kind and not self.is_there:
            os.rename(self.draft, self.directory)
        os.close(self._lock)
