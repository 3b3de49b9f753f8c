"""Detaching the mounts that a killed restore leaves in this mount namespace, by the place where they are."""

import os

from glowplug import paths
from glowplug.errors import HostError
from glowplug.layer import mountinfo, syscalls
from glowplug.restore.attempt import Attempt

MNT_DETACH = 0x2  # uapi: detach now, unmount when nobody uses it any more


def detach_all(left: Attempt) -> None:
    """What CRIU and runc mounted for a restore: all but the rootfs itself. Raises OSError.

    runc's `criu-root` is one of them: the container's rootfs, in the state directory that runc's delete removes.
    """
    state = paths.runc_state(left.journal.root, left.id)
    detach_strictly_below(left.journal.rootfs)
    detach_strictly_below(left.journal.bundle, but=left.journal.rootfs)
    if not left.journal.root:
        return
    detach_strictly_below(state)
    if os.path.isdir(f"{state}/criu-root"):
        os.rmdir(f"{state}/criu-root")


def strictly_below(directory: str) -> list[str]:
    """Mount points under a directory, without the directory itself; the newest first."""
    targets = [mount.target for mount in mountinfo.read()]
    return [target for target in reversed(targets) if target.startswith(f"{directory}/")]


def is_mounted(directory: str) -> bool:
    """Whether anything is mounted right there."""
    return any(mount.target == directory for mount in mountinfo.read())


def detach_strictly_below(directory: str, but: str = "") -> None:
    """Detach them all (MNT_DETACH), those at `but` excepted. Raises OSError."""
    if not directory:
        return
    for target in strictly_below(directory):
        if target != but:
            syscalls.umount2(target, MNT_DETACH | syscalls.UMOUNT_NOFOLLOW)


def require_none_below(directory: str) -> None:
    """Raises HostError where something is mounted at or under it."""
    found = [*strictly_below(directory), *([directory] if is_mounted(directory) else [])]
    if found:
        raise HostError(f"{found[0]} is still mounted: nothing is removed across it")
