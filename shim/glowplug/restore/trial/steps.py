"""The steps of a trial, in order: those of a restore, in a place of their own, up to the checks at the gate."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from glowplug.checkpoint import bundle
from glowplug.checkpoint.oci import Spec
from glowplug.criu.action_script import Gate
from glowplug.host import process
from glowplug.restore import steps
from glowplug.restore.at_gate import steps as at_gate
from glowplug.restore.at_gate.restored_tree import RestoredTree
from glowplug.restore.attempt import Attempt
from glowplug.restore.plan import Plan
from glowplug.restore.trial import place
from glowplug.restore.trial.task import Task
from glowplug.restore.work import Work

OF_THE_POD = {"network": "net", "ipc": "ipc", "uts": "uts"}


class _ReachedGate(Exception):
    """All of it reached the gate, and was what it should be."""


class Trial(Work):
    """`task`: what is tried. `pod`: type of a namespace → its file."""

    __slots__ = ("pod", "task")

    def __init__(self, attempt: Attempt, task: Task, pod: Mapping[str, str], until: float) -> None:
        plan = Plan({"cache": task.cache, "checkpoint": "trial", "criu": task.criu, "uts": pod["uts"]})
        super().__init__(attempt, plan, task.spec, bundle.read(task.spec), _pipes(), until)
        self.processes = [process.from_json(one) for one in task.processes]
        self.task = task
        self.pod = pod

    @property
    def checkpoint(self) -> str:
        """The draft's directory."""
        return self.task.draft


def enter_namespaces(work: Work) -> None:
    """Enter the namespaces of the trial."""
    place.enter(_of(work).attempt.journal.bundle)


def layer(work: Work) -> None:
    """Mount the root file system: the image and the captured layer."""
    place.rootfs(_of(work).task, work.attempt)


def volumes(work: Work) -> None:
    """Make the volumes, and the spec that mounts them."""
    trial = _of(work)
    sources = place.volumes(trial.task, trial.facts.mounts, trial.attempt)
    trial.spec = _spec(trial.task.spec, sources, trial.pod, trial.attempt.journal.cgroups_path)
    trial.facts = bundle.read(trial.spec)


def criu(work: Work) -> None:
    """`runc restore`, which is killed with its tree once that has reached the gate."""
    with contextlib.suppress(_ReachedGate):
        steps.run_runc(work, _at_gate)


def _at_gate(work: Work, gate: Gate, is_over: Callable[[], bool]) -> None:
    """The checks that a restore makes there; then the end of all of it. Raises _ReachedGate, and a check's errors."""
    init = gate.wait(work.until, is_over)
    if init is None:
        return
    members = process.members(init)
    restored = RestoredTree(work.attempt, work.checkpoint, work.facts, work.processes, init, members)
    try:
        for name, step in CHECKS:
            before = time.monotonic()
            work.begin_part(name)
            step(restored)
            work.measured[name] = round(time.monotonic() - before, 4)
        work.begin_part("criu")
        gate.require_paused()
    finally:
        # Before CRIU dies: a process whose tracer ends continues.
        for pid in (init, *members.values()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    raise _ReachedGate


def _spec(
    spec: Mapping[str, Any], sources: Mapping[str, str], pod: Mapping[str, str], cgroups_path: str
) -> Spec:
    """The captured container's, in the namespaces of no pod, a cgroup of its own, and without what acts on others."""
    linux = dict(spec.get("linux") or {})
    linux["namespaces"] = [
        {**one, "path": pod[one["type"]]} if one.get("type") in pod else one
        for one in linux.get("namespaces") or ()
    ]
    linux["cgroupsPath"] = cgroups_path
    linux["resources"] = {"devices": (linux.get("resources") or {}).get("devices") or []}
    for name in ("sysctl", "intelRdt"):
        linux.pop(name, None)
    mounts = [
        {**mount, "source": source}
        if (source := sources.get(os.path.normpath(mount["destination"])))
        else mount
        for mount in spec.get("mounts") or ()
    ]
    return {**spec, "linux": linux, "mounts": mounts, "hooks": {}}


def _pipes() -> tuple[int, int, int]:
    """What a container has for its stdio: nothing to read, and pipes that keep what CRIU puts into them."""
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    return null, os.pipe()[1], os.pipe()[1]


def _of(work: Work) -> Trial:
    assert isinstance(work, Trial)
    return work


CHECKS = tuple(one for one in at_gate.STEPS if one[0] in ("state", "health"))

STEPS: tuple[tuple[str, Callable[[Work], None]], ...] = (
    ("place", enter_namespaces),
    ("layer", layer),
    ("volumes", volumes),
    ("generation-file", steps.generation_file),
    ("image-overlay", steps.image_overlay),
    ("spec", steps.spec),
    ("criu", criu),
)
