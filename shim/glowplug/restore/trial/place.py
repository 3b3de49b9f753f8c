"""The files of a trial: everything below one directory of the cache's file system, mounted in a namespace of its own.

upper, work, rootfs    the image's layers with the captured layer over them, as a restore has them
volumes/N              what travels, as a restore fills it
shm                    the files of /dev/shm
seen/N                 a volume that does not travel, through an overlay: whatever is opened, locked or made in
                       it is the overlay's
"""

import json
import os
from collections.abc import Iterable

from glowplug.checkpoint.oci import Mount
from glowplug.errors import LayerError
from glowplug.layer import carried, shm, syscalls, tree
from glowplug.restore.attempt import Attempt
from glowplug.restore.trial.task import Task

_LONGEST = syscalls.MOUNT_DATA_MAX


def enter(place: str) -> None:
    """A mount namespace of this process's own: what is unmounted on the node goes here too, and nothing comes back.

    Raises OSError.
    """
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_SLAVE, "")
    for name in ("upper", "work", "rootfs"):
        os.makedirs(f"{place}/{name}", 0o755)


def rootfs(task: Task, attempt: Attempt) -> None:
    """The layer, and the overlay over it. Raises LayerError, OSError."""
    place = attempt.journal.bundle
    with open(f"{task.draft}/layer/index.json") as file:
        index = json.load(file)
    tree.apply(
        f"{task.draft}/layer/tree",
        f"{place}/upper",
        attempt.layer_record,
        fingerprint=index["fingerprint"],
        features=task.features,
        links=index["links"],
    )
    _overlay(task.lowers, place, attempt.journal.rootfs, task.is_shared)


def volumes(task: Task, mounts: Iterable[Mount], attempt: Attempt) -> dict[str, str]:
    """Mount point → what is mounted there instead of the pod's own, `mounts`. Raises LayerError, OSError."""
    place = attempt.journal.bundle
    found = _travelling(task, attempt)
    for number, mount in enumerate(mounts):
        destination = os.path.normpath(mount.destination)
        if destination in found or not mount.is_bind:
            continue
        if task.shm and mount.source == task.shm:
            found[destination] = _shared_memory(task, attempt)
        elif os.path.isdir(mount.source):
            seen = f"{place}/seen/{number}"
            for name in ("upper", "work", "files"):
                os.makedirs(f"{seen}/{name}", 0o755)
            _overlay((mount.source,), seen, f"{seen}/files", task.is_shared)
            found[destination] = f"{seen}/files"
    return found


def _travelling(task: Task, attempt: Attempt) -> dict[str, str]:
    try:
        with open(f"{task.draft}/volumes/index.json") as file:
            index = json.load(file)
    except FileNotFoundError:
        return {}
    found = {}
    for number, volume in enumerate(index):
        into = found[volume["destination"]] = f"{attempt.journal.bundle}/volumes/{number}"
        os.makedirs(into, 0o755)
        carried.apply(
            f"{task.draft}/volumes/{number}/tree",
            into,
            attempt.volume_record(number),
            replace=False,
            fingerprint=volume["fingerprint"],
            links=volume["links"],
        )
    return found


def _shared_memory(task: Task, attempt: Attempt) -> str:
    into = f"{attempt.journal.bundle}/shm"
    os.mkdir(into)
    os.chmod(into, 0o1777)
    if os.path.isdir(f"{task.draft}/shm/tree"):
        with open(f"{task.draft}/shm/index.json") as file:
            links = json.load(file)["links"]
        shm.apply(f"{task.draft}/shm/tree", into, attempt.shm_record, links)
    return into


def _overlay(lowers: tuple[str, ...], beside: str, target: str, is_shared: bool) -> None:
    """Over directories, with `upper` and `work` of the directory beside. Raises LayerError.

    `is_shared`: as the captured container's is on a node whose root is (systemd makes it so). Its mounts are slaves of
    that, and CRIU can put a mount into no group whose source is private (MOVE_MOUNT_SET_GROUP, fs/namespace.c).
    """
    base = os.path.commonpath(lowers) if len(lowers) > 1 else ""
    listed = [os.path.relpath(lower, base) if base else lower for lower in lowers]
    options = (
        f"index=off,lowerdir={':'.join(map(_escaped, listed))},upperdir={beside}/upper,workdir={beside}/work"
    )
    if len(os.fsencode(options)) > _LONGEST:
        raise LayerError(
            f"an overlay of {len(lowers)} directories can't be mounted: its options are too long"
        )
    try:
        syscalls.mount_from(base or "/", "overlay", target, "overlay", 0, options)
        if is_shared:
            syscalls.mount("", target, "", syscalls.MS_SHARED, "")
    except OSError as error:
        raise LayerError(f"{lowers[0]} can't be seen through an overlay: {error.strerror}") from error


def _escaped(path: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\:," else letter for letter in path)
