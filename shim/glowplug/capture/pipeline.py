"""A capture, from a pod's name to a published checkpoint, as a list of steps.

The container is paused in one of them only; all that can be done before or after is. Until the last step
nothing of it is to be seen in the cache: a capture that fails leaves the container and the cache as they were.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from glowplug import paths, presets
from glowplug.cache import digest
from glowplug.cache.store import Store
from glowplug.capture import (
    compile_cache,
    describe,
    frozen,
    hook_mounts,
    identity,
    layer,
    links,
    pace,
    real_user,
    shared,
    since_start,
    state,
    subject,
    trial,
    unix_names,
    volumes,
)
from glowplug.capture import stop as stopping
from glowplug.capture.preflight import require as preflight
from glowplug.capture.preflight.tree import Tree
from glowplug.capture.request import Report, Request, Result
from glowplug.capture.runc import Runc
from glowplug.capture.subject import Subject
from glowplug.capture.timing import measured
from glowplug.capture.work import CANARY, Drafted, Found, Frozen, Work
from glowplug.checkpoint import manifest as manifests
from glowplug.checkpoint.judgement import Judgement
from glowplug.checkpoint.manifest import Manifest
from glowplug.checkpoint.requirements import asks_for_gpu
from glowplug.config import Config, limits
from glowplug.containerd.client import Containerd
from glowplug.criu import fixups, program, read_only, rewrite, watches
from glowplug.errors import CaptureRefused
from glowplug.host import process
from glowplug.host.thread_probe import Probed
from glowplug.layer import shm
from glowplug.podnet import interfaces
from glowplug.registry import fleet

if TYPE_CHECKING:
    from glowplug.capture.gpu import Gpu  # and with it NVML


def run(config: Config, request: Request, report: Report, probed: Probed | None = None) -> Result:
    """Capture; the result of it. `probed`: by `look`. Raises UsageError (nothing was touched) or another GlowplugError.

    SIGTERM is taken as an interrupt, so that everything is undone on the way out.
    """
    with ExitStack() as opened, _terminable():
        work = _begin(config, request, report, opened)
        with _step(work, "find"):
            found = find(work, probed)
        with _step(work, "gpu"):
            gpu = look_at_gpu(work, found)
        with _step(work, "space"):
            drafted = make_space(work, found, gpu)
        with _step(work, "freeze"):
            taken = freeze(work, found, drafted, gpu)
        with _step(work, "rewrite"):
            rewrite_images(work, found, drafted, taken)
        with _step(work, "trial"):
            try_it(work, found, drafted, taken)
        with _step(work, "publish"):
            publish(work, found, drafted, taken, gpu)
        with _step(work, "compile-cache"):
            keep_compile_cache(work, found, taken, gpu)
        with _step(work, "stop"):
            stop(work, found)
        return work.result


@contextmanager
def _step(work: Work, name: str) -> Iterator[None]:
    work.report(name, "")
    with measured(work.result.phases, name):
        yield


def look(config: Config, request: Request, *, is_engine: bool) -> Probed | None:
    """Raises what `run` would of the container's spec, key, volumes and space, before it is put to sleep.

    Of an engine also what its threads say of themselves, so that it need not sleep while they are queried; None where
    they can't be. Other workloads may have a hook that changes what they would say.
    Weights that nobody has read yet are read here, which takes as long as it takes.
    """
    with ExitStack() as opened:
        work = _begin(config, request, lambda *_: None, opened)
        found = subject.find(config, work.containerd, request)
        _judged(work, found)
        with work.store.draft(found.memory_bytes + found.layer_bytes):
            pass
        if is_engine:
            with suppress(OSError, subprocess.TimeoutExpired):
                return Tree(found.pids, f"/proc/{found.init}/root").probed
        return None


def _begin(config: Config, request: Request, report: Report, opened: ExitStack) -> Work:
    containerd = Containerd(config.containerd_socket, config.containerd_namespace, timeout_s=10)
    opened.enter_context(containerd)
    return Work(config, request, containerd, Store(config.cache, limits(config)), report, opened)


def find(work: Work, probed: Probed | None) -> Found:
    """The container, and that it may be captured."""
    criu_version = program.version(work.config.criu)
    container = subject.find(work.config, work.containerd, work.request)
    work.open.enter_context(subject.alone(container.record.id))
    judgement = _judged(work, container)
    looked_at = Tree(container.pids, f"/proc/{container.init}/root", before=probed)
    work.result.notes = preflight.require(looked_at)
    work.result.container_id = container.record.id
    work.result.namespace = container.facts.sandbox_namespace
    work.result.pod = container.facts.sandbox_name
    work.result.container = container.facts.container_name
    return Found(container, judgement, criu_version, looked_at.own_settings, real_user.of(container.pids))


def _judged(work: Work, found: Subject) -> Judgement:
    """The judgement that the capture goes by. Raises CaptureRefused, UsageError."""
    extras = presets.extras(work.config.presets, found.facts)
    made = since_start.require(work.containerd, found.record, found.spec, _salt(work), found.init, extras)
    subject.require_eligible(found, made)
    return made


def _salt(work: Work) -> bytes:
    return fleet.salt(work.config.registry, work.store)


def look_at_gpu(work: Work, found: Found) -> "Gpu | None":
    """Of a container with GPUs: what no dump can take, its CUDA processes, headroom for their memory."""
    if not asks_for_gpu(found.subject.facts):
        return None
    from glowplug.capture.gpu import Gpu  # and with it NVML

    return work.open.enter_context(Gpu(found.subject))


def make_space(work: Work, found: Found, gpu: "Gpu | None") -> Drafted:
    """Space in the cache, refused with the numbers; the pause predicted."""
    container = found.subject
    travelling = volumes.carried_by(container.facts, found.judgement)
    needed = container.memory_bytes + container.layer_bytes + volumes.bytes_of(travelling)
    needed += gpu.device_bytes if gpu else 0
    work.result.predicted_pause_s = pace.predicted_s(work.store, needed)
    pace.require_worth(work.request, needed, work.result.predicted_pause_s)
    work.report(
        "space",
        f"{needed / 1e6:.0f} MB; the container will be paused for about {work.result.predicted_pause_s:.1f} s",
    )
    return Drafted(
        work.open.enter_context(work.store.draft(needed)),
        work.open.enter_context(_scratch(container.record.id)),
        watches.paths(container.pids),
        interfaces.places(interfaces.read(f"/proc/{container.init}/ns/net")),
    )


def freeze(work: Work, found: Found, drafted: Drafted, gpu: "Gpu | None") -> Frozen:
    """Dump, writable layer, shared memory, credentials: one moment of the container."""
    container, into = found.subject, drafted.draft.path
    runc = Runc(work.config.runc, identity.runc_root(work.config, container.record), work.config.criu)
    phases = work.result.phases
    began = time.monotonic()
    with (
        layer.Copy(container, into) as copy,
        gpu.away(runc, container.record.id) if gpu else nullcontext(),
        frozen.frozen(runc, container.record.id, drafted.scratch, phases) as guard,
    ):
        with measured(phases, "freeze.check"):
            subject.require_none_written(container, found.judgement)
            judgement = identity.when_frozen(found.judgement, container.record, container.facts, _salt(work))
            processes = [process.credentials(pid) for pid in container.pids]
            external = hook_mounts.find(container)
        copy.begin()
        with measured(phases, "dump"):
            frozen.dump(
                runc,
                container.record.id,
                f"{into}/images",
                drafted.scratch,
                guard,
                drafted.watched,
                found.ids,
                work.request.max_pause_s,
                external,
            )
        hook_mounts.keep(container, external, f"{into}/images")
        _refuse_longer_pause(work, began)
        with measured(phases, "freeze.state"):
            names = unix_names.find(container.pids, f"/proc/{container.init}/root")
            kept = state.read(container.pids, names, container.facts.oom_score_adj, found.own_settings)
        with measured(phases, "freeze.files"):
            travelling = volumes.carried_by(container.facts, judgement)
            wanted = links.of(container, f"{into}/images", travelling)
            written = copy.finish(wanted.get(links.LAYER, []))
            _refuse_longer_pause(work, began)
            shared.capture(work.containerd, container, into, wanted.get(shm.DESTINATION, []))
            volumes.capture(travelling, into, wanted)
    work.result.pause_s = round(time.monotonic() - began, 4)
    phases |= gpu.seconds if gpu else {}
    return Frozen(judgement, processes, names, kept, written)


def _refuse_longer_pause(work: Work, began: float) -> None:
    """CRIU's dump is never cut off, which would leave its code in the processes; what follows it is."""
    allowed_s, paused_s = work.request.max_pause_s, time.monotonic() - began
    if allowed_s is not None and paused_s > allowed_s:
        raise CaptureRefused(
            "pause-too-long",
            f"the container was paused for {paused_s:.2f} s (predicted {work.result.predicted_pause_s:.2f} s) "
            f"and its pod allows {allowed_s:g} s: the capture was broken off",
        )


def rewrite_images(work: Work, found: Found, drafted: Drafted, taken: Frozen) -> None:
    """The images made fit for another pod; large memory out of them, to be written back by many threads."""
    facts, into = found.subject.facts, drafted.draft.path
    rewritten, own = volumes.rewritten(facts), volumes.staying(facts, taken.judgement)
    fixups.apply(f"{into}/images", rewritten, own, taken.unix_names.now, drafted.addresses)
    if work.request.canary:
        with open(f"{into}/{CANARY}", "w") as file:
            json.dump(work.request.canary, file)
    state.write(taken.state, f"{into}/images")
    if rewrite.extract(f"{into}/images", f"{into}/memory").moved:
        read_only.extract(f"{into}/images")


def try_it(work: Work, found: Found, drafted: Drafted, taken: Frozen) -> None:
    """The checkpoint restored where nobody sees it, and paused at the gate: what can't be restored is not published."""
    work.result.trial = trial.run(work, found.subject, drafted.draft.path, taken)
    work.report("trial", work.result.trial)


def publish(work: Work, found: Found, drafted: Drafted, taken: Frozen, gpu: "Gpu | None") -> None:
    """Digests, manifest, and the rename that makes it a checkpoint."""
    files = digest.digest_files(drafted.draft.path)
    manifest: Manifest = describe.manifest(work, found, taken, gpu, files)
    work.result.bytes = sum(file.size for file in manifest.files.values())
    work.result.checkpoint = work.store.publish(drafted.draft, manifests.dumps(manifest))
    with open(paths.published(), "w"):
        pass  # a cold start that was decided before this counts no longer


def keep_compile_cache(work: Work, found: Found, taken: Frozen, gpu: "Gpu | None") -> None:
    """Where its pod asks for it; the checkpoint is published whatever its result."""
    container = found.subject
    work.result.compile_cache = compile_cache.keep(
        work.store,
        _salt(work),
        taken.judgement.key.digest,
        lambda: describe.row(found, gpu),
        compile_cache.Container(container.facts, container.init, container.upper),
    )


def stop(work: Work, found: Found) -> None:
    """With --stop: the container ends."""
    if work.request.stop:
        stopping.stop(work.containerd, found.subject.record, found.subject.init)


@contextmanager
def _scratch(container: str) -> Iterator[str]:
    """A directory for CRIU's log and options, on the node's run directory; gone in the end."""
    directory = paths.capture_scratch(container)
    shutil.rmtree(directory, ignore_errors=True)  # of a capture that was killed
    os.mkdir(directory, 0o700)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _terminable() -> Iterator[None]:
    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
