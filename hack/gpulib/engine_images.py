"""Layers of the images that engines run in: a base over the host's /usr and /opt, and caches compiled before."""

from __future__ import annotations

import os
import tarfile

from hack.gpulib import cri
from hack.gpulib.pods import REPOSITORY
from integration.oci_archive import LayerTar

CACHE = "/root/.cache"
LOOPBACK = "/etc/vllm-loopback"
LOADER_FILES = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/nsswitch.conf")


def pack_caches(root: str, layer: str) -> None:
    """A layer with what is in CACHE below `root`."""
    os.makedirs(os.path.dirname(layer), exist_ok=True)
    with tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as tar:
        if os.path.isdir(f"{root}{CACHE}"):
            tar.add(f"{root}{CACHE}", CACHE.lstrip("/"), filter=_without_sockets)


def middleware() -> str:
    """The file that docs/examples mounts from a ConfigMap."""
    with open(f"{REPOSITORY}/docs/examples/vllm-loopback.yaml") as file:
        block = file.read().split("loopback.py: |\n", 1)[1].split("\n---", 1)[0]
    return "\n".join(line[4:] for line in block.splitlines()) + "\n"


def make_base(layer: str) -> None:
    """What an image of the engine has besides the host's /usr and /opt."""
    with LayerTar(layer) as tar:
        for name in (*cri.SKELETON, "weights", LOOPBACK.lstrip("/"), "etc/alternatives"):
            tar.directory(name)
        for name in ("bin", "sbin", "lib", "lib64"):
            tar.link(name, f"usr/{name}")
        tar.file("etc/passwd", b"root:x:0:0::/root:/bin/sh\n")
        tar.file("etc/group", b"root:x:0:\n")
        for path in LOADER_FILES:
            if os.path.exists(path):
                with open(path, "rb") as file:
                    tar.file(path.lstrip("/"), file.read())
        for entry in os.scandir("/etc/alternatives") if os.path.isdir("/etc/alternatives") else ():
            if entry.is_symlink():
                tar.link(f"etc/alternatives/{entry.name}", os.readlink(entry.path))


def _without_sockets(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return entry if entry.isfile() or entry.isdir() or entry.issym() or entry.islnk() else None
