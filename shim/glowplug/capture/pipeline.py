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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress

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
from glowplug.capture.work import CANARY, Work
from glowplug.checkpoint import manifest as manifests
from glowplug.checkpoint.judgement import Judgement
from glowplug.checkpoint.manifest import Manifest
from glowplug.checkpoint.requirements import asks_for_gpu
from glowplug.config import Config, limits
from glowplug.containerd.client import Containerd
from glowplug.criu import fixups, program, rewrite, watches
from glowplug.errors import CaptureRefused
from glowplug.host import process
from glowplug.host.thread_probe import Probed
from glowplug.layer import shm
from glowplug.podnet import interfaces
from glowplug.registry import fleet


def run(config: Config, request: Request, report: Report, probed: Probed | None = None) -> Result:
    """Capture; the result of it. `probed`: by `look`. Raises UsageError (nothing was touched) or another GlowplugError.

    SIGTERM is taken as an interrupt, so that everything is undone on the way out.
    """
    with ExitStack() as opened, _terminable():
        work = _begin(config, request, report, opened)
        work.probed = probed
        for name, step in STEPS:
            report(name, "")
            with measured(work.result.phases, name):
                step(work)
        return work.result


def look(config: Config, request: Request, *, is_engine: bool) -> Probed | None:
    """Raises what `run` would of the container's spec, key, volumes and space, before it is put to sleep.

    Of an engine also what its threads say of themselves, so that it need not sleep while they are asked; None where
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


def find(work: Work) -> None:
    """The container, and that it may be captured."""
    work.criu_version = program.version(work.config.criu)
    found = subject.find(work.config, work.containerd, work.request)
    work.open.enter_context(subject.alone(found.record.id))
    work.found = _judged(work, found)
    looked_at = Tree(found.pids, f"/proc/{found.init}/root", before=work.probed)
    work.result.notes = preflight.require(looked_at)
    work.own_settings = looked_at.own_settings
    work.ids = real_user.of(found.pids)
    work.subject = found
    work.result.container_id = found.record.id
    work.result.namespace = found.bundle.sandbox_namespace
    work.result.pod = found.bundle.sandbox_name
    work.result.container = found.bundle.container_name


def _judged(work: Work, found: Subject) -> Judgement:
    """The judgement that the capture goes by. Raises CaptureRefused, UsageError."""
    extras = presets.extras(work.config.presets, found.bundle)
    made = since_start.require(work.containerd, found.record, found.spec, _salt(work), found.init, extras)
    subject.require_eligible(found, made)
    return made


def _salt(work: Work) -> bytes:
    return fleet.salt(work.config.registry, work.store)


def look_at_gpu(work: Work) -> None:
    """Of a container with GPUs: what no dump can take, its CUDA processes, headroom for their memory."""
    assert work.subject is not None
    if asks_for_gpu(work.subject.bundle):
        from glowplug.capture.gpu import Gpu  # and with it NVML

        work.gpu = work.open.enter_context(Gpu(work.subject))


def make_space(work: Work) -> None:
    """Space in the cache, refused with the numbers; the pause predicted."""
    assert work.subject is not None and work.found is not None
    travelling = volumes.carried_by(work.subject.bundle, work.found)
    needed = work.subject.memory_bytes + work.subject.layer_bytes + volumes.bytes_of(travelling)
    needed += work.gpu.device_bytes if work.gpu else 0
    work.result.predicted_pause_s = pace.predicted_s(work.store, needed)
    pace.require_worth(work.request, needed, work.result.predicted_pause_s)
    work.report(
        "space",
        f"{needed / 1e6:.0f} MB; the container will be paused for about {work.result.predicted_pause_s:.1f} s",
    )
    work.draft = work.open.enter_context(work.store.draft(needed))
    work.scratch = work.open.enter_context(_scratch(work.subject.record.id))
    work.watched = watches.paths(work.subject.pids)
    work.addresses = interfaces.places(interfaces.read(f"/proc/{work.subject.init}/ns/net"))


def freeze(work: Work) -> None:
    """Dump, writable layer, shared memory, credentials: one moment of the container."""
    assert work.subject is not None and work.draft is not None and work.found is not None
    found, into = work.subject, work.draft.path
    runc = Runc(work.config.runc, identity.runc_root(work.config, found.record), work.config.criu)
    phases = work.result.phases
    began = time.monotonic()
    with (
        work.gpu.away(runc, found.record.id) if work.gpu else nullcontext(),
        frozen.frozen(runc, found.record.id, work.scratch, phases) as guard,
    ):
        with measured(phases, "freeze.check"):
            subject.require_none_written(found, work.found)
            work.found = identity.when_frozen(work.found, found.record, found.bundle, _salt(work))
            work.processes = [process.credentials(pid) for pid in found.pids]
            external = hook_mounts.find(found)
        with measured(phases, "dump"):
            frozen.dump(
                runc,
                found.record.id,
                f"{into}/images",
                work.scratch,
                guard,
                work.watched,
                work.ids,
                work.request.max_pause_s,
                external,
            )
        hook_mounts.keep(found, external, f"{into}/images")
        _refuse_longer_pause(work, began)
        with measured(phases, "freeze.state"):
            work.unix_names = unix_names.find(found.pids, f"/proc/{found.init}/root")
            work.state = state.read(
                found.pids, work.unix_names, found.bundle.oom_score_adj, work.own_settings
            )
        with measured(phases, "freeze.files"):
            travelling = volumes.carried_by(found.bundle, work.found)
            wanted = links.of(found, f"{into}/images", travelling)
            work.layer = layer.capture(found, into, wanted.get(links.LAYER, []))
            _refuse_longer_pause(work, began)
            shared.capture(work.containerd, found, into, wanted.get(shm.DESTINATION, []))
            volumes.capture(travelling, into, wanted)
    work.result.pause_s = round(time.monotonic() - began, 4)
    phases |= work.gpu.seconds if work.gpu else {}


def _refuse_longer_pause(work: Work, began: float) -> None:
    """CRIU's dump is never cut off, which would leave its code in the processes; what follows it is."""
    allowed_s, paused_s = work.request.max_pause_s, time.monotonic() - began
    if allowed_s is not None and paused_s > allowed_s:
        raise CaptureRefused(
            "pause-too-long",
            f"the container was paused for {paused_s:.2f} s (predicted {work.result.predicted_pause_s:.2f} s) "
            f"and its pod allows {allowed_s:g} s: the capture was broken off",
        )


def rewrite_images(work: Work) -> None:
    """The images made fit for another pod; large memory out of them, to be written back by many threads."""
    assert work.draft is not None and work.subject is not None and work.found is not None
    rewritten, own = volumes.rewritten(work.subject.bundle), volumes.staying(work.subject.bundle, work.found)
    fixups.apply(f"{work.draft.path}/images", rewritten, own, work.unix_names.now, work.addresses)
    if work.request.canary:
        with open(f"{work.draft.path}/{CANARY}", "w") as file:
            json.dump(work.request.canary, file)
    state.write(work.state, f"{work.draft.path}/images")
    rewrite.take_out(f"{work.draft.path}/images", f"{work.draft.path}/memory")


def try_it(work: Work) -> None:
    """The checkpoint restored where nobody sees it, and held at the gate: what can't be restored is not published."""
    work.result.trial = trial.run(work)
    work.report("trial", work.result.trial)


def publish(work: Work) -> None:
    """Digests, manifest, and the rename that makes it a checkpoint."""
    assert work.draft is not None
    files = digest.digest_files(work.draft.path)
    manifest: Manifest = describe.manifest(work, files)
    work.result.bytes = sum(file.size for file in manifest.files.values())
    work.result.checkpoint = work.store.publish(work.draft, manifests.dumps(manifest))
    with open(paths.published(), "w"):
        pass  # a cold start that was decided before this counts no longer


def keep_compile_cache(work: Work) -> None:
    """Where its pod asks for it; the checkpoint is published whatever its result."""
    assert work.subject is not None and work.found is not None
    found = work.subject
    container = compile_cache.Container(found.bundle, found.init, found.upper)
    work.result.compile_cache = compile_cache.keep(
        work.store, _salt(work), work.found.key.digest, lambda: describe.row(work), container
    )


def stop(work: Work) -> None:
    """With --stop: the container ends."""
    assert work.subject is not None
    if work.request.stop:
        stopping.stop(work.containerd, work.subject.record, work.subject.init)


STEPS: tuple[tuple[str, Callable[[Work], None]], ...] = (
    ("find", find),
    ("gpu", look_at_gpu),
    ("space", make_space),
    ("freeze", freeze),
    ("rewrite", rewrite_images),
    ("trial", try_it),
    ("publish", publish),
    ("compile-cache", keep_compile_cache),
    ("stop", stop),
)


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
