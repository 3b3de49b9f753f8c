"""NVIDIA device nodes of a restored container brought in line with the new spec, before its CUDA restore.

A restored /dev is the dumped one: with nvidia0 in a container with nvidia1 assigned, the driver's restore
fails (`operation not supported`). uvm's major number differs from boot to boot too. Names come from the
container, so they are opened beneath its root by openat2(2) with RESOLVE_IN_ROOT. What the spec mounts from the
host, a node or all of /dev, is the new spec's already, and not the container's own: it is left alone.
"""

from __future__ import annotations

import os
import stat

from glowplug.errors import CudaError
from glowplug.host.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from glowplug.checkpoint.bundle import BundleFacts

_SHARED_NODES = ("nvidiactl", "nvidia-modeset", "nvidia-uvm", "nvidia-uvm-tools")

Node = tuple[int, int, int, int, int]
"""major, minor, permission bits, uid, gid."""


def wanted_nodes(facts: BundleFacts) -> dict[str, Node]:
    """The NVIDIA nodes in /dev that the spec gives (`linux.devices`, config-linux.md), by name."""
    nodes: dict[str, Node] = {}
    for device in facts.devices:
        folder, _, name = device.path.rpartition("/")
        if folder == "/dev" and _is_nvidias(name) and device.type in ("c", "u"):
            mode = 0o666 if device.mode is None else stat.S_IMODE(device.mode)
            nodes[name] = (device.major, device.minor, mode, device.uid, device.gid)
    return nodes


def mounted(facts: BundleFacts) -> set[str]:
    """Names in /dev that the spec mounts from elsewhere, and "" for /dev itself (runc makes no nodes there either:
    libcontainer/rootfs_linux.go, needsSetupDev)."""
    found = set()
    for mount in facts.mounts:
        folder, _, name = os.path.normpath(mount.destination).lstrip("/").partition("/")
        if mount.is_bind and folder == "dev":
            found.add(name)
    return found


def swaps(present: dict[str, tuple[int, int]], wanted: dict[str, Node]) -> tuple[list[str], list[str]]:
    """Names to remove from /dev, and names to make there. present: major and minor of each NVIDIA node in it.

    A node that differs in its numbers is in both. Nothing wanted: nothing is made, and every node goes.
    """
    wrong = [name for name, numbers in present.items() if name not in wanted or wanted[name][:2] != numbers]
    missing = [name for name in wanted if name not in present or name in wrong]
    return sorted(wrong), sorted(missing)


def align(pid: int, facts: BundleFacts) -> list[str]:
    """Make the NVIDIA nodes in /dev of a restored process's root those of the spec; returns the names it
    changed.

    Raises CudaError when /dev can't be opened beneath that root or a node can't be made.
    """
    alone = mounted(facts)
    if "" in alone:
        return []
    wanted = {name: node for name, node in wanted_nodes(facts).items() if name not in alone}
    try:
        folder = _open_dev(pid)
        try:
            present = {name: numbers for name, numbers in _present(folder).items() if name not in alone}
            wrong, missing = swaps(present, wanted)
            for name in wrong:
                os.unlink(name, dir_fd=folder)
            for name in missing:
                _make(folder, name, wanted[name])
        finally:
            os.close(folder)
    except OSError as error:
        raise CudaError(
            f"could not bring /dev of restored process {pid} in line with its spec: {error}"
        ) from error
    return sorted({*wrong, *missing})


def _is_nvidias(name: str) -> bool:
    number = name.removeprefix("nvidia")
    return name in _SHARED_NODES or (number != name and number.isascii() and number.isdigit())


def _open_dev(pid: int) -> int:
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS
        return openat2(root, "dev", os.O_RDONLY | os.O_DIRECTORY, 0, resolve)
    finally:
        os.close(root)


def _present(folder: int) -> dict[str, tuple[int, int]]:
    nodes = {}
    for name in os.listdir(folder):
        if not _is_nvidias(name):
            continue
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        device = (
            (os.major(found.st_rdev), os.minor(found.st_rdev)) if stat.S_ISCHR(found.st_mode) else (-1, -1)
        )
        nodes[name] = device
    return nodes


def _make(folder: int, name: str, node: Node) -> None:
    major, minor, mode, uid, gid = node
    os.mknod(name, stat.S_IFCHR | mode, os.makedev(major, minor), dir_fd=folder)
    os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)
    made = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.chmod(f"/proc/self/fd/{made}", mode)  # mknod's mode went through our umask
    finally:
        os.close(made)
