"""The steps of a restore, in order; each is a function of the same `Work` and could be called alone.

All of them run in a process of their own (supervised.py). A step raises GlowplugError or OSError; the pipeline adds
which step it was, and that is the outcome's stage.
"""

from __future__ import annotations

import os

from glowplug import jsontext
from glowplug.cache import check as cache_check
from glowplug.cache import lease as cache_lease
from glowplug.checkpoint import withheld
from glowplug.criu import action_script, config, criu_symlink, forced, hostname, image_fixups, images
from glowplug.errors import CriuError, LayerError
from glowplug.host import keyring, process, seccomp
from glowplug.layer import overlay, tree
from glowplug.restore import (
    beside_criu,
    captured_state,
    child,
    health,
    hook_mounts,
    new_addresses,
    notify,
    own_cgroup,
    own_settings,
    pod_files,
    stdio,
)
from glowplug.restore.attempt import VARIABLE

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Callable

    from glowplug.restore.work import Work


def lease(work: Work) -> None:
    """Lease the checkpoint: nothing removes it while this descriptor is open."""
    work.lease = cache_lease.take(work.plan.cache, work.plan.checkpoint)


def check(work: Work) -> None:
    """Sizes of all files, digests of the manifest and of the small images."""
    manifest = cache_check.check(work.plan.cache, work.plan.checkpoint)
    work.processes = health.captured_processes(manifest)
    work.gpus = health.captured_gpus(manifest)


def gpu(work: Work) -> None:
    """Of processes that used CUDA: what will make the driver's calls loads its library while CRIU works, and the driver
    is initialised."""
    cuda_pids = [one.pid for one in work.processes if one.cuda]
    if cuda_pids:
        from glowplug.restore.gpu import Gpu

        work.gpu = Gpu(cuda_pids, work.gpus, work.plan.device_map)


def begin_shared_memory(work: Work) -> None:
    """Files of /dev/shm that were captured, into the tmpfs of the new pod, by a child of ours beside the next step."""
    work.shm = pod_files.begin_shared_memory(work.attempt, work.checkpoint, work.plan.shm)


def layer(work: Work) -> None:
    """The writable layer into the upper directory of the new snapshot, with the overlay unmounted."""
    with open(f"{work.checkpoint}/layer/index.json") as file:
        index = jsontext.loads(file.read())
    if not isinstance(index, dict):
        raise LayerError("the list of what the layer has is not a JSON object")
    mount = overlay.find(work.attempt.journal.rootfs)
    work.attempt.note_rootfs(mount.recipe())
    with overlay.Unmounted(mount):
        tree.apply(
            f"{work.checkpoint}/layer/tree",
            mount.upperdir,
            work.attempt.layer_record,
            fingerprint=index["fingerprint"],
            features=mount.features,
            links=index["links"],
        )


def shared_memory(work: Work) -> None:
    """Until the files of /dev/shm are there."""
    if work.shm is not None:
        work.shm.wait()


def volumes(work: Work) -> None:
    """The volumes that travel with the container, into the directories that the new pod mounts there."""
    pod_files.volumes(work.attempt, work.checkpoint, work.facts)


def generation_file(work: Work) -> None:
    """The file that says that this is a restore, in the writable layer: undone with it."""
    notify.write_file(work.attempt.journal.rootfs, work.facts, new_addresses.of_pod(work.facts))


def image_overlay(work: Work) -> None:
    """The images with the new pod's host name, which CRIU writes into the entire pod, and addresses; without what we
    write by force."""
    stored, into = f"{work.checkpoint}/images", work.attempt.images
    os.makedirs(into, 0o700)
    hostname.give(stored, into, work.plan.uts)
    work.fixups = image_fixups.read(stored)
    addresses = new_addresses.instead_of(work.fixups, work.facts)
    if addresses:
        from glowplug.criu import sockets  # few bind to an address of their pod

        sockets.rebind(stored, into, addresses)
    work.forced = os.path.isdir(f"{work.checkpoint}/memory") and forced.leave_out(stored, into)
    images.link_rest(stored, into)


def spec(work: Work) -> None:
    """Our copy of the spec: as a cold start's, except for CRIU's options and an absolute rootfs."""
    os.makedirs(work.bundle, 0o700, exist_ok=True)
    options = f"{work.bundle}/criu.conf"
    with open(options, "w") as file:
        file.write(
            config.restore(
                leave_stopped=beside_criu.stays_stopped(work),
                cgroup=own_cgroup.root(work.attempt, work.fixups),
                script=action_script.script_in(work.bundle),
                mounts=[
                    *own_cgroup.mounts(work.attempt, work.facts),
                    *hook_mounts.recreate(work.checkpoint, work.bundle),
                ],
            )
        )
    copy = dict(withheld.without(work.spec, seccomp.machine()))
    annotations = copy.get("annotations")
    copy["annotations"] = {
        **(annotations if isinstance(annotations, dict) else {}),
        config.ANNOTATION: options,
    }
    root = copy.get("root")
    copy["root"] = {**(root if isinstance(root, dict) else {}), "path": work.attempt.journal.rootfs}
    with open(f"{work.bundle}/config.json", "w") as file:
        file.write(jsontext.dumps(copy))


def criu(work: Work) -> None:
    """`runc restore`: a child of ours with the container's stdio, its tasks descendants of the shim. What it restores
    is paused at the gate, and let go there unless it stays stopped."""
    try:
        run_runc(work, beside_criu.at_gate)
    finally:
        if work.memory is not None:
            work.measured["memory"] = work.memory.spent()
    work.begin_part("health")
    if not process.is_alive(health.init_pid(work.attempt)):
        raise CriuError("the container's first process died as soon as it ran")


def run_runc(work: Work, at_gate: Callable[[Work, action_script.Gate, Callable[[], bool]], None]) -> None:
    """`runc restore` to its end. `at_gate`: called once, with the gate and what says whether runc has ended, to wait
    for the tree and to let it go. Raises CriuError."""
    journal = work.attempt.journal
    captured_state.inherit(captured_state.read(work.checkpoint))
    criu_path = work.plan.criu
    if not os.access(criu_path, os.X_OK):
        raise CriuError(f"there is no CRIU at {criu_path}: no such program, install CRIU 4.1 or newer")
    logs = f"{work.bundle}/work"
    log = f"{logs}/restore.log"
    os.makedirs(logs, 0o700, exist_ok=True)
    arguments = [
        journal.runc,
        *("--root", journal.root),
        # A log of our own: containerd shows the last error of the one that we got.
        *("--log", f"{work.bundle}/runc.log", "--log-format", "json"),
        *(["--systemd-cgroup"] if journal.systemd_cgroup else []),
        *("restore", "--detach", "--no-subreaper"),
        *("--bundle", work.bundle),
        *("--image-path", work.attempt.images),
        *("--work-path", logs),
        *("--pid-file", journal.pid_file),
        work.attempt.id,
    ]
    env = {**os.environ, VARIABLE: work.attempt.id}
    found_first = criu_symlink.directory(criu_path, work.bundle)
    env["PATH"] = f"{found_first}:{env.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}"
    if work.new_keyring:
        keyring.join(f"_ses.{work.attempt.id}")
    stdio.give_to_user(work.stdio, work.facts.uid)
    with (
        stdio.ForRunc(work.stdio) as fds,
        action_script.Gate(work.bundle, work.attempt.opened_record) as gate,
    ):
        status = child.run(
            arguments,
            work.left_s(),
            fds,
            env,
            meanwhile=lambda is_over: at_gate(work, gate, is_over),
            record=work.attempt.runc_record,
            any_cpu=True,
            helper_log=log,
        )
    if status != 0:
        said = config.log_errors(log, 12)
        from glowplug import known_errors  # of no use to a restore that goes well

        raise CriuError(known_errors.explained(said, sources=config.log_sources(log, 12)))
    if not gate.was_opened:
        raise CriuError("the restored tree did not reach the gate: its script was killed")


def settings(work: Work) -> None:
    """Settings that only the processes themselves can make: they are stopped, and made to. Without CUDA, the tree is
    checked and let go then."""
    if not own_settings.is_needed(work.checkpoint):
        return
    beside_criu.await_memory(work, "settings")
    init = health.init_pid(work.attempt)
    members = process.members(init)
    own_settings.apply(work.checkpoint, members)
    if work.gpu is None:
        beside_criu.check_and_signal(work, init, members)
        work.begin_part("resume")
        own_settings.let_run(members, work.stopped_before)
        work.attempt.open(init)


def cuda(work: Work) -> None:
    """CUDA state back on the devices, as soon as its processes have their memory; then this tree, too, is checked,
    signalled and let go."""
    if work.gpu is None:
        return
    init = health.init_pid(work.attempt)
    try:
        work.gpu.bring_back(
            init,
            work.facts,
            work.left_s(),
            lambda: beside_criu.await_urgent_memory(work),
        )
    finally:
        work.measured.update(work.gpu.seconds)
    beside_criu.await_memory(work, "cuda")
    beside_criu.check_and_signal(work, init, process.members(init))
    work.begin_part("resume")
    work.gpu.let_run(work.stopped_before)
    work.attempt.open(init)


def release(work: Work) -> None:
    """However the steps ended: no memory is written any more, what is still traced is killed, and what helped is let
    go."""
    try:
        if work.shm is not None:
            work.shm.end()
        if work.memory is not None:
            work.memory.close()
    finally:
        if work.gpu is not None:
            work.gpu.close()
            work.gpu = None


STEPS: tuple[tuple[str, Callable[[Work], None]], ...] = (
    ("lease", lease),
    ("check", check),
    ("gpu", gpu),
    ("shm", begin_shared_memory),
    ("layer", layer),
    ("shm", shared_memory),
    ("volumes", volumes),
    ("generation-file", generation_file),
    ("image-overlay", image_overlay),
    ("spec", spec),
    ("criu", criu),
    ("settings", settings),
    ("cuda", cuda),
)
