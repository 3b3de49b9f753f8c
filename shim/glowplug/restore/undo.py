"""Undoing an attempt: as if `create` had never been called.

Everything is found by place: the mounts below the bundle and runc's state directory, the processes of the
container's cgroup, what the records in the attempt's directory name. `runc delete --force` alone does not do it: a
killed `runc restore` leaves CRIU's processes, cgroups, mounts, and the id in use.

Used by the runtime: standard library only.
"""

import contextlib
import json
import os
import time

from glowplug import paths
from glowplug.errors import GlowplugError, HostError, LayerError
from glowplug.host import cgroup, process, process_life, removal
from glowplug.layer import carried, overlay, shm, syscalls, tree
from glowplug.restore import attempt, child, unmount
from glowplug.restore.attempt import Attempt

BUSY_S = 1.0
RUNC_DIES_S = 10.0
DIES_S = 30.0
"""Memory of hundreds of gigabytes is freed for longer than anything else here takes."""


class StillThere(HostError):
    """Processes of this container that don't die, or its rootfs that can't be put back: nobody may create it."""


def undo(left: Attempt, deadline_s: float, *, create_follows: bool) -> list[str]:
    """Leave nothing of what the attempt has done; what could not be taken back and is of no harm to a create, in words.
    We have its lock, and its directory stays.

    `create_follows`: runc is about to create this very container, so its rootfs has to be mounted in the end; else it
    is left mounted or not, as it is found (the shim unmounts what it mounted).
    Raises StillThere; the attempt stays then, and this can be tried again.
    """
    end_runc(left)
    kill_processes(left, DIES_S)
    until = time.monotonic() + deadline_s
    remaining: list[str] = []
    for step in (detach_mounts, forget_in_runc, remove_cgroups, undo_shm, undo_volumes):
        _try(step, left, max(1.0, until - time.monotonic()), remaining)
    give_back_rootfs(left, create_follows)
    _try(remove_files, left, max(1.0, until - time.monotonic()), remaining)
    return remaining


def end_runc(left: Attempt) -> None:
    """`runc restore` and what it started outside of the container's cgroup. The kernel kills runc when the process
    that restored dies, but not at once, and CRIU ends when runc does, unless it hangs; as long as they live they mount,
    and make files in runc's state directory."""
    found = attempt.read_process(left.runc_record)
    others = process.started_with(attempt.VARIABLE, left.id)
    for pid, started in ([found] if found else []) + others:
        if not process_life.end(pid, started, RUNC_DIES_S):
            raise StillThere(f"the process {pid} of the restore does not die: it is stuck in the kernel")


def kill_processes(left: Attempt, left_s: float) -> None:
    """Kill what is in the cgroups. Raises StillThere where something does not die in time."""
    try:
        cgroup.kill(cgroups_of(left), left_s)
    except HostError as error:
        raise StillThere(str(error)) from error


def detach_mounts(left: Attempt, left_s: float) -> None:
    """What CRIU and runc mounted for the restore, in this mount namespace. Raises OSError."""
    unmount.detach_all(left)


def forget_in_runc(left: Attempt, left_s: float) -> None:
    """runc's own delete where it knows the container, then its state directory whatever it said."""
    state = paths.runc_state(left.journal.root, left.id)
    if not left.journal.root or not os.path.lexists(state):
        return
    unmount.require_none_below(state)  # runc removes its state directory across mounts
    if os.path.exists(f"{state}/state.json"):
        child.run([left.journal.runc, "--root", left.journal.root, "delete", "--force", left.id], left_s)
    unmount.detach_strictly_below(state)
    _remove(state)


def remove_cgroups(left: Attempt, left_s: float) -> None:
    """Remove the cgroups. Raises OSError."""
    cgroup.remove(cgroups_of(left), left_s)


def undo_shm(left: Attempt, left_s: float) -> None:
    """Put /dev/shm back as it was."""
    if os.path.exists(left.shm_record):
        shm.undo(left.shm_record)


def undo_volumes(left: Attempt, left_s: float) -> None:
    """Put the volumes back as they were."""
    for record in left.volume_records():
        carried.undo(record)


def give_back_rootfs(left: Attempt, create_follows: bool) -> None:
    """The upper directory as it was, under the same overlay. Raises StillThere.

    Where runc would create the container, it must not find the files of the checkpoint in its rootfs, nor no rootfs.
    """
    if not os.path.exists(left.rootfs_record):
        return  # the step that writes it came first, and has changed nothing yet
    try:
        with open(left.rootfs_record) as file:
            recipe = json.load(file)
        rootfs = str(recipe["target"])
        mounted = unmount.is_mounted(rootfs)
        if os.path.exists(left.layer_record):
            _unmount(rootfs)
            tree.undo(left.layer_record)
        if (mounted or create_follows) and not unmount.is_mounted(rootfs):
            overlay.mount_again(recipe)
    except (LayerError, OSError, ValueError, KeyError, TypeError) as error:
        raise StillThere(f"the container's rootfs can't be put back as it was: {error}") from error


def remove_files(left: Attempt, left_s: float) -> None:
    """Remove the pid file, finished or not, and the directories of the restore."""
    if left.journal.pid_file:
        # runc writes it as a hidden file and renames that (utils_linux.go, createPidFile). A runc that was killed
        # between the two leaves the hidden one, and the next create of runc then refuses: file exists.
        directory, name = os.path.split(left.journal.pid_file)
        for path in (left.journal.pid_file, f"{directory}/.{name}"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
    if left.journal.bundle:
        _remove(paths.restore_bundle(left.journal.bundle))
    if left.journal.cache:
        _remove(left.images)
    if left.journal.trial and left.journal.bundle:
        _remove(left.journal.bundle)


def _try(
    step: "Callable[[Attempt, float], None]", left: Attempt, left_s: float, remaining: list[str]
) -> None:
    """A step whose failure harms no create: the next one is taken all the same."""
    try:
        step(left, left_s)
    except (GlowplugError, OSError, ValueError, KeyError, TypeError) as error:
        remaining.append(f"{step.__name__}: {error}")


def _remove(path: str) -> None:
    if not removal.remove_tree(path):
        raise HostError(
            f"{path} can't be removed completely: something in it is mounted, or can't be removed"
        )


def _unmount(rootfs: str) -> None:
    """Everything that is mounted there. One that is busy because a process is still ending is detached."""
    until = time.monotonic() + BUSY_S
    while unmount.is_mounted(rootfs):
        late = time.monotonic() > until
        try:
            syscalls.umount2(rootfs, syscalls.UMOUNT_NOFOLLOW | (unmount.MNT_DETACH if late else 0))
        except OSError:
            if late:
                raise
            time.sleep(0.01)


def cgroups_of(left: Attempt) -> list[str]:
    """The container's, in every hierarchy; none where the journal names none: then nobody was put into one."""
    if not left.journal.cgroups_path:
        return []
    return cgroup.directories(left.journal.cgroups_path, left.journal.systemd_cgroup)


TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Callable
