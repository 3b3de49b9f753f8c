"""The steps of a restore, in order; each is a function of the same `Work` and could be called alone.

All of them run in a process of their own (supervised.py). A step raises GlowplugError or OSError; the pipeline adds
which step it was, and that is the outcome's stage.
"""

from __future__ import annotations

import os
import time

from glowplug import jsontext, paths
from glowplug.cache import check as cache_check
from glowplug.cache import lease as cache_lease
from glowplug.checkpoint import withheld
from glowplug.criu import action_script, config, criu_symlink, hostname, image_fixups, images
from glowplug.errors import CriuError, GlowplugError, LayerError
from glowplug.host import keyring, process, seccomp
from glowplug.layer import overlay, tree
from glowplug.restore import (
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

    from glowplug.checkpoint.bundle import BundleFacts
    from glowplug.checkpoint.oci import Spec
    from glowplug.restore.attempt import Attempt
    from glowplug.restore.gpu import Gpu
    from glowplug.restore.memory import Memory
    from glowplug.restore.plan import Plan


class Work:
    """A restore under way.

    `spec`: of the bundle that containerd made; `facts`: what it says. `stdio`: the container's own descriptors.
    `until`: the deadline in time.monotonic() seconds. `new_keyring`: the container gets a session keyring of its own.
    `processes` and `gpus` (UUIDs at the capture) are there after `check`, `fixups` after `image_overlay`, `gpu` only
    where there is CUDA, `memory` from `criu` on and only where there are memory extents.
    `stopped_before` is there after `criu`: the processes, by their pids in the container, that a signal had stopped
    before the capture; they stay so. `begin_part` is called with the name of what begins inside a step and is a stage
    of its own; `measured` gets its seconds.
    """

    __slots__ = (
        "attempt",
        "begin_part",
        "facts",
        "fixups",
        "gpu",
        "gpus",
        "lease",
        "measured",
        "memory",
        "new_keyring",
        "plan",
        "processes",
        "spec",
        "stdio",
        "stopped_before",
        "until",
    )

    def __init__(
        self,
        attempt: Attempt,
        plan: Plan,
        spec: Spec,
        facts: BundleFacts,
        stdio: tuple[int, int, int],
        until: float,
        new_keyring: bool = True,
    ) -> None:
        self.attempt = attempt
        self.plan = plan
        self.spec = spec
        self.facts = facts
        self.stdio = stdio
        self.until = until
        self.new_keyring = new_keyring
        self.lease = -1
        self.gpu: Gpu | None = None
        self.memory: Memory | None = None
        self.processes: list[process.Credentials] = []
        self.gpus: list[str] = []
        self.fixups: image_fixups.ImageFixups | None = None
        self.stopped_before: list[int] = []
        self.begin_part: Callable[[str], None] = lambda name: None
        self.measured: dict[str, float] = {}

    @property
    def checkpoint(self) -> str:
        """The checkpoint's directory."""
        return self.plan.directory

    @property
    def bundle(self) -> str:
        """Our own bundle: the spec that runc restores."""
        return paths.restore_bundle(self.attempt.journal.bundle)

    def left_s(self) -> float:
        """Seconds until the deadline, at least 0."""
        return max(0.0, self.until - time.monotonic())


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
    """The files of /dev/shm that were captured, into the tmpfs of the new pod."""
    pod_files.shared_memory(work.attempt, work.checkpoint, work.plan.shm)


def volumes(work: Work) -> None:
    """The volumes that travel with the container, into the directories that the new pod mounts there."""
    pod_files.volumes(work.attempt, work.checkpoint, work.facts)


def generation_file(work: Work) -> None:
    """The file that says that this is a restore, in the writable layer: undone with it."""
    notify.write_file(work.attempt.journal.rootfs, work.facts, new_addresses.of_pod(work.facts))


def image_overlay(work: Work) -> None:
    """The images with the new pod's host name, which CRIU writes into the entire pod, and addresses."""
    stored, into = f"{work.checkpoint}/images", work.attempt.images
    os.makedirs(into, 0o700)
    hostname.give(stored, into, work.plan.uts)
    work.fixups = image_fixups.read(stored)
    addresses = new_addresses.instead_of(work.fixups, work.facts)
    if addresses:
        from glowplug.criu import sockets  # few bind to an address of their pod

        sockets.rebind(stored, into, addresses)
    images.link_rest(stored, into)


def spec(work: Work) -> None:
    """Our copy of the spec: as a cold start's, except for CRIU's options and an absolute rootfs."""
    os.makedirs(work.bundle, 0o700, exist_ok=True)
    options = f"{work.bundle}/criu.conf"
    with open(options, "w") as file:
        file.write(
            config.restore(
                leave_stopped=_stays_stopped(work),
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


def _stays_stopped(work: Work) -> bool:
    """Whether there is more to do after CRIU than can be done at its gate, where it is every task's tracer."""
    return work.gpu is not None or own_settings.is_needed(work.checkpoint)


def criu(work: Work) -> None:
    """`runc restore`: a child of ours with the container's stdio, its tasks descendants of the shim. What it restores
    is paused at the gate, and let go there unless it stays stopped."""
    try:
        run_runc(work, _at_gate)
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


def _at_gate(work: Work, gate: action_script.Gate, is_over: Callable[[], bool]) -> None:
    """Large mappings are written from the extents as soon as the tree has them; at the gate it is checked, signalled
    and let go. One that stays stopped is let go as soon as it is there, and stopped by CRIU: its memory is waited for
    later."""
    _prepare_for_the_gate(work)
    _begin_memory(work, gate, is_over)
    if not _stays_stopped(work):
        _memory_before_the_gate(work, gate, is_over)
    init = gate.wait(work.until, is_over)
    if init is None:
        return  # CRIU failed before it got there
    if not _stays_stopped(work):
        _pass(work, init, process.members(init))
        gate.require_paused()
        work.attempt.open(init)
    work.begin_part("criu")
    gate.open()


def _prepare_for_the_gate(work: Work) -> None:
    """What can be done while CRIU works: imports take as long as the restore of a small tree."""
    from glowplug.restore.at_gate import pass_through  # noqa: F401

    if _stays_stopped(work):
        from glowplug.criu import processes as dumped

        tree = dumped.tree(f"{work.checkpoint}/images")
        work.stopped_before = [one.pid for one in tree if one.state == dumped.STOPPED]


def _begin_memory(work: Work, gate: action_script.Gate, is_over: Callable[[], bool]) -> None:
    """Nothing where CRIU fails before the tree is made: that is to be reported then."""
    if not os.path.isdir(f"{work.checkpoint}/memory"):
        return
    work.begin_part("memory")
    from glowplug.restore.memory import Memory  # it imports what small checkpoints have no use for

    work.memory = Memory(work.checkpoint, work.attempt.progress, work.until)
    work.begin_part("criu")
    work.memory.begin(gate, is_over, [one.pid for one in work.processes if one.cuda])


def _memory_before_the_gate(work: Work, gate: action_script.Gate, is_over: Callable[[], bool]) -> None:
    """Where CRIU fails, its failure is to be reported, and not that its processes are gone."""
    if work.memory is None:
        return
    work.begin_part("memory")
    try:
        work.memory.wait()
    except GlowplugError:
        if gate.wait(work.until, is_over) is not None:
            raise
    work.begin_part("criu")


def _await_memory(work: Work, wait: Callable[[Memory], None], then: str) -> None:
    """Of a stopped tree. `wait`: for which part of it. `then`: the stage that goes on."""
    if work.memory is None:
        return
    began = time.monotonic()
    work.begin_part("memory")
    try:
        wait(work.memory)
    finally:
        work.measured["memory"] = work.measured.get("memory", 0.0) + time.monotonic() - began
    work.begin_part(then)


def _pass(work: Work, init: int, members: dict[int, int]) -> None:
    from glowplug.restore.at_gate import pass_through
    from glowplug.restore.at_gate.restored_tree import RestoredTree

    restored = RestoredTree(work.attempt, work.checkpoint, work.facts, work.processes, init, members)
    pass_through.run(restored, work.begin_part, work.measured)


def settings(work: Work) -> None:
    """Settings that only the processes themselves can make: they are stopped, and made to. Without CUDA, the tree is
    checked and let go then."""
    if not own_settings.is_needed(work.checkpoint):
        return
    _await_memory(work, lambda memory: memory.wait(), "settings")
    init = health.init_pid(work.attempt)
    members = process.members(init)
    own_settings.apply(work.checkpoint, members)
    if work.gpu is None:
        _pass(work, init, members)
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
            lambda: _await_memory(work, lambda memory: memory.wait_urgent(), "cuda"),
        )
    finally:
        work.measured.update(work.gpu.seconds)
    _await_memory(work, lambda memory: memory.wait(), "cuda")
    _pass(work, init, process.members(init))
    work.begin_part("resume")
    work.gpu.let_run(work.stopped_before)
    work.attempt.open(init)


def release(work: Work) -> None:
    """However the steps ended: no memory is written any more, what is still traced is killed, and what helped is let
    go."""
    try:
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
