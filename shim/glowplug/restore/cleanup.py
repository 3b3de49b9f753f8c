"""Taking back a restore: after a failure, at the container's delete, and after a killed runtime.

`runc delete --force` alone does not do it: a killed `runc restore` leaves CRIU's processes, cgroups, a bind
mount of the rootfs at `criu-root` in runc's state directory, and the id in use.
"""

import contextlib
import json
import os
import shutil
import time

from glowplug import paths
from glowplug.errors import HostError
from glowplug.host import cgroup
from glowplug.layer import carried, overlay, shm, syscalls, tree
from glowplug.restore import child, unmount
from glowplug.restore.attempt import Attempt


def clean_up(attempt: Attempt, deadline_s: float, *, create_follows: bool) -> None:
    """Leave nothing of the attempt: as if `create` had never been called.

    `create_follows`: runc is about to create this very container, so its rootfs has to be mounted in the end;
    else it is left mounted or not, as it is found (the shim unmounts what it mounted).

    Raises GlowplugError or OSError where processes do not die or a mount or file can't be taken back; the
    journal stays then, so that the next clean-up tries again.
    """
    until = time.monotonic() + deadline_s
    for step in STEPS:
        step(attempt, max(1.0, until - time.monotonic()))
    undo_layer(attempt, create_follows)
    remove_files(attempt)
    attempt.finish()


def kill_processes(attempt: Attempt, left_s: float) -> None:
    cgroup.kill(_cgroups(attempt), left_s)


def detach_mounts(attempt: Attempt, left_s: float) -> None:
    """What CRIU and runc mounted for the restore, in this mount namespace."""
    unmount.detach_below(paths.runc_state(attempt.text("root"), attempt.id))
    unmount.detach_below(paths.restore_bundle(attempt.text("bundle")))


def forget_in_runc(attempt: Attempt, left_s: float) -> None:
    """runc's own delete where it knows the container, then its state directory whatever it said."""
    state = paths.runc_state(attempt.text("root"), attempt.id)
    if not os.path.lexists(state):
        return
    arguments = [attempt.text("runc"), "--root", attempt.text("root"), "delete", "--force", attempt.id]
    child.run(arguments, left_s)
    unmount.detach_below(state)
    shutil.rmtree(state, ignore_errors=True)


def remove_cgroups(attempt: Attempt, left_s: float) -> None:
    try:
        cgroup.remove(_cgroups(attempt), left_s)
    except OSError as error:
        raise HostError(f"{error.filename}: {error.strerror}: wanted an empty cgroup to remove") from None


def undo_shm(attempt: Attempt, left_s: float) -> None:
    if os.path.exists(attempt.shm_record):
        shm.undo(attempt.shm_record)


def undo_volumes(attempt: Attempt, left_s: float) -> None:
    for record in attempt.volume_records():
        carried.undo(record)


def undo_layer(attempt: Attempt, create_follows: bool) -> None:
    """The upper directory as it was; the overlay, should it be mounted, is not while that is done."""
    if not os.path.exists(attempt.rootfs_record):
        return
    rootfs = attempt.text("rootfs")
    mounted = bool(unmount.mounted_below(rootfs))
    if mounted and os.path.exists(attempt.layer_record):
        syscalls.umount2(rootfs, syscalls.UMOUNT_NOFOLLOW)
    if os.path.exists(attempt.layer_record):
        tree.undo(attempt.layer_record)
    if (mounted or create_follows) and not unmount.mounted_below(rootfs):
        with open(attempt.rootfs_record) as file:
            overlay.mount_again(json.load(file))


def remove_files(attempt: Attempt) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(attempt.text("pid_file"))
    shutil.rmtree(paths.restore_bundle(attempt.text("bundle")), ignore_errors=True)
    shutil.rmtree(attempt.view, ignore_errors=True)


STEPS = (
    kill_processes,
    detach_mounts,
    forget_in_runc,
    remove_cgroups,
    undo_shm,
    undo_volumes,
)


def _cgroups(attempt: Attempt) -> list[str]:
    return cgroup.directories(attempt.text("cgroups_path"), attempt.facts.get("systemd_cgroup") is True)
