"""The new container's own cgroup, as the restored processes see it.

On v1, runc gives a container with a mount of type cgroup a bind mount per hierarchy. At a restore it takes
their sources from its own cgroup (libcontainer/rootfs_linux.go, getCgroupMounts, runs in runc itself then), so
that the container would see the node's. CRIU gets the right ones; its file of options has the last word.
"""

import os

from glowplug.checkpoint.bundle import BundleFacts
from glowplug.criu.image_fixups import ImageFixups
from glowplug.host import cgroup
from glowplug.restore.attempt import Attempt


def root(attempt: Attempt, fixups: ImageFixups | None) -> str | None:
    """Where a cgroup namespace of the processes' own begins, from the root of the hierarchy."""
    if fixups is None or not fixups.cgroup_namespace:
        return None
    return "/" + _relative(attempt)


def mounts(attempt: Attempt, facts: BundleFacts) -> list[tuple[str, str]]:
    """(mount point in the container, directory on the host) of each hierarchy that it has mounted; v1 only."""
    if cgroup.version() == 2:
        return []
    points = [mount.destination for mount in facts.mounts if mount.type == "cgroup"]
    hierarchies = cgroup.mountpoints() if points else []
    return [
        (f"{point}/{os.path.basename(hierarchy)}", f"{hierarchy}/{_relative(attempt)}")
        for point in points
        for hierarchy in hierarchies
    ]


def _relative(attempt: Attempt) -> str:
    return cgroup.relative(attempt.journal.cgroups_path, attempt.journal.systemd_cgroup)
