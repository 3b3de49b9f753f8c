"""What is left to be done once a restored tree runs: what was only for the way goes, what was put in place stays.

All of it is best effort, done by the runtime, and by the agent's sweep where the runtime could not. From `done` on
nothing of an attempt is undone, so any number of these may be repeated after any interruption.

Used by the runtime: standard library only.
"""

import os

from glowplug import paths
from glowplug.errors import GlowplugError, HostError
from glowplug.host import removal
from glowplug.layer import carried, shm, tree
from glowplug.restore import unmount
from glowplug.restore.attempt import Attempt

RUNC_CONF = "/etc/criu/runc.conf"  # runc's docs/checkpoint-restore.md


def tidy(kept: Attempt) -> list[str]:
    """Take every step of a complete attempt; what could not be done, in words."""
    left = []
    for step in (detach_mounts, replace_options, keep_layer, keep_shm, keep_volumes, remove_view):
        try:
            step(kept)
        except (GlowplugError, OSError, ValueError, KeyError, TypeError) as error:
            left.append(f"{step.__name__}: {error}")
    return left


def detach_mounts(kept: Attempt) -> None:
    """runc's own, where it was killed before it could: its delete would remove what is mounted there."""
    unmount.detach_all(kept)


def replace_options(kept: Attempt) -> None:
    """CRIU's options for the restore go: runc would take them for a later checkpoint of this container. In their
    place are those that runc takes where no annotation names any."""
    bundle = paths.restore_bundle(kept.journal.bundle)
    if not os.path.isdir(bundle):
        return  # the container is gone already
    options = ""
    if os.path.exists(RUNC_CONF):
        with open(RUNC_CONF) as file:
            options = file.read()
    with open(f"{bundle}/criu.conf", "w") as file:
        file.write(options)


def keep_layer(kept: Attempt) -> None:
    """Drop the layer's undo record."""
    tree.finish(kept.layer_record)


def keep_shm(kept: Attempt) -> None:
    """Drop the undo record of /dev/shm."""
    shm.finish(kept.shm_record)


def keep_volumes(kept: Attempt) -> None:
    """Drop the volumes' undo records."""
    for record in kept.volume_records():
        carried.finish(record)


def remove_view(kept: Attempt) -> None:
    """Remove the restore's own directory of images. Raises HostError."""
    if kept.journal.cache and not removal.remove_tree(kept.images):
        raise HostError(f"{kept.images} can't be removed")
