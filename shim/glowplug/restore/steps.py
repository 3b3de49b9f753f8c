"""The steps of a restore, in order; each is a function of the same `Work` and could be called alone.

A step raises GlowplugError or OSError; the pipeline adds which step it was, and that is the outcome's stage.
"""

import json
import os
import shutil
import time
from collections.abc import Callable

from glowplug import paths
from glowplug.cache import check as cache_check
from glowplug.cache import lease as cache_lease
from glowplug.checkpoint import withheld
from glowplug.criu import config, hostname, images, named, settled, sockets
from glowplug.errors import CriuError, LayerError
from glowplug.layer import carried, overlay, shm, tree
from glowplug.restore import announce, child, health, marker, new_addresses, own_cgroup, progress, stdio
from glowplug.restore.attempt import Attempt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from glowplug.restore.gpu import Gpu

GATE_SCRIPT = "gate.sh"
RUNC_CONF = "/etc/criu/runc.conf"  # runc's docs/checkpoint-restore.md


class Work:
    """A restore under way.

    `plan` is the agent's answer; `stdio` the container's own descriptors; `until` the deadline in
    time.monotonic() seconds; `manifest` is there after `check`, `settled` after `view`, `gpu` only where there is
    CUDA. `part` names what is being done inside a step, as its own stage; `measured` its seconds.
    """

    __slots__ = (
        "attempt",
        "gpu",
        "lease",
        "manifest",
        "measured",
        "memory_bytes",
        "part",
        "plan",
        "settled",
        "spec",
        "stdio",
        "until",
    )

    def __init__(
        self,
        attempt: Attempt,
        plan: dict[str, object],
        spec: dict[str, object],
        stdio: tuple[int, int, int],
        until: float,
    ) -> None:
        self.attempt = attempt
        self.plan = plan
        self.spec = spec
        self.stdio = stdio
        self.until = until
        self.lease = -1
        self.gpu: Gpu | None = None
        self.manifest: dict[str, object] = {}
        self.settled: settled.Settled | None = None
        self.part = ""
        self.measured: dict[str, float] = {}
        self.memory_bytes = 0

    def text(self, name: str) -> str:
        value = self.plan.get(name)
        return value if isinstance(value, str) else ""

    @property
    def checkpoint(self) -> str:
        """The checkpoint's directory."""
        return f"{self.text('cache')}/checkpoints/{self.text('checkpoint')}"

    @property
    def bundle(self) -> str:
        """Our own bundle: the spec that runc restores."""
        return paths.restore_bundle(self.attempt.text("bundle"))

    def left_s(self) -> float:
        return max(0.0, self.until - time.monotonic())


def lease(work: Work) -> None:
    """Hold the checkpoint: nothing removes it while this descriptor is open."""
    work.lease = cache_lease.take(work.text("cache"), work.text("checkpoint"))


def check(work: Work) -> None:
    """Sizes of all files, digests of the manifest and of the small images."""
    work.manifest = cache_check.check(work.text("cache"), work.text("checkpoint"))


def gpu(work: Work) -> None:
    """Of processes that held CUDA: what will make the driver's calls loads its library while CRIU works."""
    processes = work.manifest.get("processes")
    held = [one["pid"] for one in processes if one.get("cuda")] if isinstance(processes, list) else []
    if held:
        from glowplug.restore.gpu import Gpu

        work.gpu = Gpu(held, work.text("device_map"))


def layer(work: Work) -> None:
    """The writable layer into the upper directory of the new snapshot, with the overlay unmounted."""
    with open(f"{work.checkpoint}/layer/index.json") as file:
        index = json.load(file)
    mount = overlay.find(work.attempt.text("rootfs"))
    with open(work.attempt.rootfs_record, "w") as file:
        json.dump(mount.recipe(), file)
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
    source = f"{work.checkpoint}/shm/tree"
    if os.path.isdir(source):
        with open(f"{work.checkpoint}/shm/index.json") as file:
            index = json.load(file)
        shm.apply(source, work.text("shm"), work.attempt.shm_record, index["links"])


def volumes(work: Work) -> None:
    """The volumes that travel with the container, into the directories that the new pod mounts there."""
    index = f"{work.checkpoint}/volumes/index.json"
    if not os.path.exists(index):
        return
    with open(index) as file:
        listed = json.load(file)
    for number, volume in enumerate(listed):
        carried.apply(
            f"{work.checkpoint}/volumes/{number}/tree",
            _source_of(work.spec, volume["destination"]),
            work.attempt.volume_record(number),
            replace=volume["replace"],
            fingerprint=volume["fingerprint"],
            links=volume["links"],
        )


def _source_of(spec: dict[str, object], destination: str) -> str:
    """What the new spec mounts there, a directory of the host."""
    mounts = spec.get("mounts")
    for mount in mounts if isinstance(mounts, list) else []:
        if os.path.normpath(mount["destination"]) == destination:
            return str(mount["source"])
    raise LayerError(f"wanted a volume at {destination} in the new container, found none")


def announced(work: Work) -> None:
    """The file that says that this is a restore, in the writable layer: undone with it."""
    announce.write(work.attempt.text("rootfs"), work.spec)


def view(work: Work) -> None:
    """The images with the new pod's host name, which CRIU writes into the whole pod, and addresses."""
    stored, into = f"{work.checkpoint}/images", work.attempt.view
    os.makedirs(into, 0o700)
    hostname.give(stored, into, work.text("uts"))
    work.settled = settled.read(stored)
    addresses = new_addresses.instead_of(work.settled.addresses, work.spec)
    if addresses:
        sockets.rebind(stored, into, addresses)
    images.view(stored, into)


def _gate_script(work: Work) -> str | None:
    """At the gate the tree waits for memory that is not in CRIU's images, where there is such."""
    return f"{work.bundle}/{GATE_SCRIPT}" if os.path.isdir(f"{work.checkpoint}/memory") else None


def spec(work: Work) -> None:
    """Our copy of the spec: as a cold start's, but for CRIU's options and an absolute rootfs."""
    os.makedirs(work.bundle, 0o700, exist_ok=True)
    options = f"{work.bundle}/criu.conf"
    with open(options, "w") as file:
        file.write(
            config.restore(
                hold=work.gpu is not None,
                cgroup=own_cgroup.root(work.attempt, work.settled),
                script=_gate_script(work),
                mounts=own_cgroup.mounts(work.attempt, work.spec),
            )
        )
    copy = dict(withheld.without(work.spec, os.uname().machine))
    annotations = copy.get("annotations")
    copy["annotations"] = {
        **(annotations if isinstance(annotations, dict) else {}),
        config.ANNOTATION: options,
    }
    root = copy.get("root")
    copy["root"] = {**(root if isinstance(root, dict) else {}), "path": work.attempt.text("rootfs")}
    with open(f"{work.bundle}/config.json", "w") as file:
        json.dump(copy, file)


def criu(work: Work) -> None:
    """`runc restore`: a child of ours with the container's stdio, its tasks descendants of the shim."""
    criu_path = work.text("criu")
    if not os.access(criu_path, os.X_OK):
        raise CriuError(f"wanted CRIU at {criu_path}, found no such program: install CRIU 4.1 or newer")
    logs = f"{work.bundle}/work"
    os.makedirs(logs, 0o700, exist_ok=True)
    arguments = [
        work.attempt.text("runc"),
        *("--root", work.attempt.text("root")),
        # A log of our own: containerd shows the last error of the one that we were given.
        *("--log", f"{work.bundle}/runc.log", "--log-format", "json"),
        *(["--systemd-cgroup"] if work.attempt.facts.get("systemd_cgroup") is True else []),
        *("restore", "--detach", "--no-subreaper"),
        *("--bundle", work.bundle),
        *("--image-path", work.attempt.view),
        *("--work-path", logs),
        *("--pid-file", work.attempt.text("pid_file")),
        work.attempt.id,
    ]
    env = dict(os.environ)
    found_first = named.directory(criu_path, work.bundle)
    env["PATH"] = f"{found_first}:{env.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}"
    with stdio.for_runc(work.stdio) as given:
        if _gate_script(work):
            status = _with_memory(work, arguments, given, env)
        else:
            status = child.run(arguments, work.left_s(), given, env)
    if status != 0:
        said = config.log_errors(f"{logs}/restore.log", 12)
        raise CriuError(said or f"runc restore ended with status {status}; CRIU left no log")


def _with_memory(work: Work, arguments: list[str], given: stdio.Stdio, env: dict[str, str]) -> int:
    """The same, and while the tree stands at the gate, its large mappings are written from the extents."""
    from glowplug.criu import fill, gate  # they import what small checkpoints have no use for

    with gate.Gate(work.bundle) as held:

        def tell(done: int, total: int) -> None:
            progress.tell(work.attempt.progress, done, total)

        def write(is_over: Callable[[], bool]) -> None:
            init = held.wait(work.until, is_over)
            if init is None:
                return  # CRIU failed before it got there
            work.part = "memory"
            filled = fill.fill(f"{work.checkpoint}/memory", gate.members(init), work.until, tell)
            work.measured["memory"] = round(filled.seconds, 4)
            work.memory_bytes = filled.bytes
            work.part = ""
            held.open()

        return child.run(arguments, work.left_s(), given, env, write)


def cuda(work: Work) -> None:
    """CUDA state back on the devices. No thread of a CUDA process has run but the driver's own."""
    if work.gpu is not None:
        try:
            work.gpu.bring_back(health.init_pid(work.attempt), work.spec, work.left_s())
        finally:
            work.measured.update(work.gpu.seconds)


def healthy(work: Work) -> None:
    """Every process alive, with the credentials that the spec and the manifest say; oom_score_adj set."""
    health.check(work.attempt, work.spec, work.manifest, held=work.gpu is not None)


def signalled(work: Work) -> None:
    """The signal that its pod wants it to be told by. One that is held for CUDA has it before it runs."""
    number = announce.signal_of(work.spec)
    if number is not None:
        announce.send(health.init_pid(work.attempt), number)


def go(work: Work) -> None:
    """What was held for the sake of CUDA runs: the last step that a restore can fail in without a trace."""
    if work.gpu is not None:
        work.gpu.go()
        work.gpu.close()
        work.gpu = None


def abandon(work: Work) -> None:
    """After a failed step: what is still held is killed. The clean-up sees to the rest."""
    if work.gpu is not None:
        work.gpu.close()


def keep(work: Work) -> None:
    """What was put in place stays; what was only for the way goes.

    CRIU's options for the restore go too: runc would take them for a later checkpoint of this container. In
    their place are those that runc takes where no annotation names any.
    """
    options = ""
    if os.path.exists(RUNC_CONF):
        with open(RUNC_CONF) as file:
            options = file.read()
    with open(f"{work.bundle}/criu.conf", "w") as file:
        file.write(options)
    tree.finish(work.attempt.layer_record)
    shm.finish(work.attempt.shm_record)
    for record in work.attempt.volume_records():
        carried.finish(record)
    shutil.rmtree(work.attempt.view)


def mark(work: Work) -> None:
    """From here on `start` has nothing to do."""
    trial = work.attempt
    marker.write(trial.text("root"), trial.id, work.text("checkpoint"), trial.text("bundle"))


STEPS = (
    ("lease", lease),
    ("check", check),
    ("gpu", gpu),
    ("layer", layer),
    ("shm", shared_memory),
    ("volumes", volumes),
    ("announce", announced),
    ("view", view),
    ("spec", spec),
    ("criu", criu),
    ("cuda", cuda),
    ("health", healthy),
    ("mark", mark),
    ("signal", signalled),
    ("go", go),
    ("keep", keep),
)
