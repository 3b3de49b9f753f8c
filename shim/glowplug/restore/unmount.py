"""Detaching the mounts that a killed restore leaves in this mount namespace."""

from glowplug.layer import mountinfo, syscalls

MNT_DETACH = 0x2  # uapi: detach now, unmount when nobody uses it any more


def mounted_below(directory: str) -> list[str]:
    """Mount points at or under a directory, the newest first."""
    targets = [mount.target for mount in mountinfo.read()]
    return [target for target in reversed(targets) if f"{target}/".startswith(f"{directory}/")]


def detach_below(directory: str) -> None:
    """Detach them all (MNT_DETACH). Raises OSError."""
    for target in mounted_below(directory):
        syscalls.umount2(target, MNT_DETACH)
