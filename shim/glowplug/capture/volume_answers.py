"""The answers to the core's questions about a container's mounts (checkpoint/mounts.py, `Question`).

Runs in a process of its own where a file system may hang or a tenant has a say in it (`readers`). An answer holds no
content: digests, names that the kubelet gave, states.
"""

import fcntl
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress

from glowplug.capture.volume_files import Budget, Entry, Unreadable, Volume, refuse_link_out, refuse_special
from glowplug.checkpoint import content, mounts, noise
from glowplug.layer import mountinfo

ENTRIES = 4096  # names of one volume that are looked at
FILLED_BYTES = 64 << 20  # of an emptyDir that others filled: more is known by names, sizes and times
CARRIED_ENTRIES = 200_000  # of an emptyDir of a container that runs: its own files, which are only counted

EMPTY = "empty"
_OF_EMPTY_DIR = "empty-dir:"

_SUBPATH = re.compile(r"(?P<pod>/.+/pods/[^/]+)/volume-subpaths/(?P<volume>[^/]+)/[^/]+/[0-9]+")
_CSI_MOUNT = re.compile(r"/.+/pods/[^/]+/volumes/kubernetes\.io~csi/[^/]+/mount")
_FS_IOC_GETFSUUID = 0x80111500  # _IOR(0x15, 0, struct fsuuid2), Linux 6.9 (41bcbe59c3b3)


def answer(
    source: str, how: str, sandbox: noise.SandboxFacts, until: float, started_before: float | None
) -> str | None:
    """One answer; None where nobody knows. Raises Unreadable with the reason, OSError, ValueError.

    `until`: in time.monotonic() seconds. `started_before`: None for a container that is about to start; of one that
    runs, the moment of its making in Unix time: files that changed later are its own.
    """
    if how == mounts.BACKING:
        return _backing(source)
    if how == mounts.VOLUME:
        return _csi(source, sandbox, until)
    if how == mounts.STATE:
        return _state(source, until)
    if how == mounts.EMPTY_DIR:
        return _filling(source, sandbox, until, started_before)
    if how == mounts.SERVICE_ACCOUNT:
        return content.service_account(token(source, until))
    if how == mounts.CONTENT_OR_BACKING:
        return _subpath(source, sandbox, until, started_before)
    return _kubelet_s(source, sandbox, until)


def token(source: str, until: float) -> bytes:
    """The service account's, from its volume. Raises Unreadable, OSError."""
    with Volume(source, Budget(8, content.LIMIT, until), follow=True) as volume:
        return volume.read(Entry("token", volume.state))


def is_of_empty_dir(source: str) -> bool:
    """Whether a subPath is a directory of an emptyDir: it travels as that does (rule 4.9)."""
    found = _SUBPATH.fullmatch(source)
    return found is not None and os.path.isdir(
        f"{found['pod']}/volumes/kubernetes.io~empty-dir/{found['volume']}"
    )


def is_filled(found: str | None) -> bool:
    """Whether the answer about an emptyDir, or a subPath of one, says that others had filled it."""
    return found is not None and found.removeprefix(_OF_EMPTY_DIR) != EMPTY


def _kubelet_s(source: str, sandbox: noise.SandboxFacts, until: float) -> str:
    """A ConfigMap's, Secret's or projected volume's files, through its links into ..data."""
    files = []
    with Volume(source, Budget(ENTRIES, content.LIMIT, until), follow=True) as volume:
        for entry in volume.entries():
            if entry.path.startswith("..") or stat.S_ISDIR(entry.state.st_mode):
                continue
            files.append((entry.path, stat.S_IMODE(entry.state.st_mode), volume.read(entry)))
    return content.digest(files, lambda text: noise.metadata(sandbox, text))


def _tenant_s(source: str, size: int, sandbox: noise.SandboxFacts, until: float) -> str:
    """All that is in a volume that a tenant can write to: names, modes, links and bytes, without noise.

    An init container may have written its pod's name or address into a file, as injected agents and meshes do.
    """
    files = []
    with Volume(source, Budget(ENTRIES, size, until)) as volume:
        for entry in volume.entries():
            refuse_special(entry.path, entry.state.st_mode)
            refuse_link_out(entry)
            mode = stat.S_IMODE(entry.state.st_mode)
            if entry.link is not None:
                files.append((entry.path, mode, b"\0link " + os.fsencode(entry.link)))
            elif stat.S_ISDIR(entry.state.st_mode):
                files.append((f"{entry.path}/", mode, b""))
            else:
                files.append((entry.path, mode, volume.read(entry)))
    return content.digest(files, lambda text: noise.metadata(sandbox, text))


def _subpath(
    source: str, sandbox: noise.SandboxFacts, until: float, started_before: float | None
) -> str | None:
    if is_of_empty_dir(source) and os.path.isdir(source):
        return _OF_EMPTY_DIR + _filling(source, sandbox, until, started_before)
    try:
        return _tenant_s(source, content.LIMIT, sandbox, until)
    except Unreadable as error:
        if not str(error).startswith("more than"):
            raise
        return _backing(source)


def _csi(source: str, sandbox: noise.SandboxFacts, until: float) -> str | None:
    """A CSI volume by what the kubelet notes beside it (pkg/volume/csi): the directory's name is that of the persistent
    volume, or by the pod alone (`csi:` in its volumes), where the same name says nothing about what is in it."""
    with Volume(os.path.dirname(source), Budget(8, content.LIMIT, until)) as beside:
        noted = json.loads(beside.read(Entry("vol_data.json", beside.state)))
    if not isinstance(noted, dict):
        return None
    mode, driver, handle = (noted.get(name) for name in ("volumeLifecycleMode", "driverName", "volumeHandle"))
    if mode == "Persistent" and driver and handle:
        return json.dumps([mode, driver, handle])
    return json.dumps([mode, driver, _kubelet_s(source, sandbox, until)]) if mode == "Ephemeral" else None


def _filling(source: str, sandbox: noise.SandboxFacts, until: float, started_before: float | None) -> str:
    """What others put into an emptyDir before the container starts: `EMPTY`, or what it is (rule 4.10)."""
    with Volume(source, Budget(CARRIED_ENTRIES, 0, until)) as volume:
        changed = [entry.state.st_ctime for entry in volume.entries()]
    if not changed:
        return EMPTY
    if started_before is not None:
        own = [moment >= started_before for moment in changed]
        if all(own):
            return EMPTY
        if any(own):
            raise Unreadable("others filled it before the start, and it was written to since")
    try:
        return _tenant_s(source, FILLED_BYTES, sandbox, until)
    except Unreadable as error:
        if not str(error).startswith("more than"):
            raise
        return "large " + _listing(source, until)


def _state(source: str, until: float) -> str | None:
    """A token that changes where something is written (rule 4.4). What has no content of its own has no state."""
    mode = os.stat(source, follow_symlinks=False).st_mode
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        return "none"
    return _listing(source, until)


def _listing(source: str, until: float) -> str:
    """Names, sizes and times of everything: a large volume's content, as far as that goes without reading it."""
    total = hashlib.blake2b(digest_size=32)
    with Volume(source, Budget(ENTRIES, 0, until)) as volume:
        for entry in volume.entries():
            state = entry.state
            size = 0 if stat.S_ISDIR(state.st_mode) else state.st_size
            row = [entry.path, stat.S_IFMT(state.st_mode), size, state.st_mtime_ns, entry.link]
            total.update(hashlib.blake2b(json.dumps(row).encode(), digest_size=32).digest())
    return total.hexdigest()


def _backing(source: str) -> str | None:
    """What is mounted at the path: the volume that its device belongs to, and the root in it (rule 4.6)."""
    listed = mountinfo.read()
    mount = next((one for one in reversed(listed) if one.target == source), None)
    if mount is None:
        return None
    if not mount.source.startswith("/dev/"):  # a server's name, or a file system without a device
        return f"{mount.fstype} {mount.source} {mount.root}"
    for known in _volumes_of(mount, listed):
        return f"{mount.fstype} {known} {mount.root}"
    uuid = _uuid(source)
    return f"{mount.fstype} {uuid} {mount.root}" if uuid else None


def _volumes_of(mount: mountinfo.Mount, listed: list[mountinfo.Mount]) -> Iterator[str]:
    """The CSI volume that is mounted from the same device: its driver and handle."""
    for one in listed:
        if one.device == mount.device and _CSI_MOUNT.fullmatch(one.target):
            with (
                suppress(OSError, ValueError),
                open(f"{os.path.dirname(one.target)}/vol_data.json", "rb") as file,
            ):
                noted = json.loads(file.read(content.LIMIT))
                if isinstance(noted, dict) and noted.get("driverName") and noted.get("volumeHandle"):
                    yield json.dumps([noted["driverName"], noted["volumeHandle"]])


def _uuid(source: str) -> str | None:
    """The file system's own, which goes with it to another device and another node."""
    fd = os.open(source, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        device = os.fstat(fd).st_dev
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            return _uuid_by_link(device)
        opened = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(fd)
    try:
        answer = fcntl.ioctl(opened, _FS_IOC_GETFSUUID, bytes(17))
        return answer[1 : 1 + answer[0]].hex() or None
    except OSError:
        return _uuid_by_link(device)
    finally:
        os.close(opened)


def _uuid_by_link(device: int, directory: str = "/dev/disk/by-uuid") -> str | None:
    """Before Linux 6.9: as udev names the device."""
    with suppress(OSError):
        for name in os.listdir(directory):
            if os.stat(f"{directory}/{name}").st_rdev == device:
                return name
    return None
