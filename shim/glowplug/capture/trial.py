"""Whether a fresh checkpoint is tried before it is published, and what a failed trial means.

By the pod's annotation `glowplug.dev/trial`, else the node's key `trial`: always; first (the cache has no checkpoint of
that workload yet); never. One that can't be restored is not published. Where the trial itself could not be made, or
came to no end, the checkpoint is published, and the record of the capture says why it was not tried.

The container has long been thawed by then. What a trial may cost is bounded here: its time, the memory that CRIU
fills, the files that are copied for it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Literal

from glowplug import paths
from glowplug.cache import fault
from glowplug.cache.fault import Fault
from glowplug.checkpoint.bundle import OWN_ANNOTATIONS, BundleFacts
from glowplug.errors import GlowplugError, LayerError, NotRestorable, UsageError
from glowplug.host import memory, process
from glowplug.layer import overlay
from glowplug.restore import attempt, take_back
from glowplug.restore.trial.task import Answer, Task

if TYPE_CHECKING:
    from glowplug.capture.subject import Subject
    from glowplug.capture.work import Frozen, Work
    from glowplug.containerd.client import Containerd

TRIAL = "trial"
POLICIES = ("always", "first", "never")
Policy = Literal["always", "first", "never"]

PASSED = "passed"
SKIPPED = "skipped"

PROVING = ("criu", "state", "health")
"""Stages whose failure is of what was captured; before them the place is made."""

GRACE_S = 10.0
"""So much later than its own deadline a trial's process is killed."""
COPIED_BYTES = 2 << 30
"""Files that a trial copies, at most: the layer, the volumes that travel, /dev/shm."""
MEMORY_SHARE = 2
"""CRIU may fill this part of the memory that the node has to give."""
CRIU_BYTES = 64 << 20
"""For CRIU itself and what the kernel keeps of processes."""


def policy(text: str) -> Policy:
    """Raises ValueError saying what is expected."""
    if text == "always":
        return "always"
    if text == "first":
        return "first"
    if text == "never":
        return "never"
    raise ValueError(", ".join(POLICIES))


def policy_of(facts: BundleFacts, default: str) -> Policy:
    """What the pod asks for, its one container before all of them; else `default`. Raises UsageError."""
    name = f"{OWN_ANNOTATIONS}{TRIAL}"
    own = f"{name}.{facts.container_name}"
    used = own if own in facts.annotations else name
    try:
        return policy(facts.annotations.get(used, "").strip() or default)
    except ValueError as error:
        raise UsageError(f"{used}: expected one of {error}") from None


def run(work: "Work", container: "Subject", draft: str, taken: "Frozen") -> str:
    """PASSED; `SKIPPED: why`; "" where none was wanted. Raises NotRestorable."""
    wanted = policy_of(container.facts, work.config.trial)
    if wanted == "never" or (wanted == "first" and _is_known(work, taken)):
        return ""
    why = _objection(container, draft)
    if why:
        return f"{SKIPPED}: {why}"
    try:
        answer = _tried(_task(work, container, draft, taken), container.record.id)
    except (GlowplugError, OSError) as error:
        return f"{SKIPPED}: it could not be made: {error}"
    if not answer.stage:
        return PASSED
    if answer.stage in PROVING and fault.whose(answer.stage, [answer.detail]) is Fault.CHECKPOINT:
        raise NotRestorable(
            f"the checkpoint can't be restored, so it is not kept: its trial failed in the step {answer.stage}: "
            f"{answer.detail}"
        )
    return f"{SKIPPED}: it came to no end in the step {answer.stage}: {answer.detail}"


def _is_known(work: "Work", taken: "Frozen") -> bool:
    """Whether the cache has a checkpoint of this workload that nothing speaks against."""
    now = work.store.now()
    return any(
        not work.store.state(entry.id).quarantined(now)
        for entry in work.store.index.find(taken.judgement.namespace, taken.judgement.key.digest)
    )


def _objection(subject: "Subject", draft: str) -> str:
    """Why this one can't be tried, or would cost too much; "" where it can."""
    if process.has_no_new_privs() and not subject.facts.no_new_privileges:
        return "the agent runs with no_new_privs, which what it restores would inherit (NoNewPrivileges= of its unit)"
    if any(subject.facts.hooks.get(stage) for stage in ("prestart", "createRuntime")):
        return "hooks of its spec act at a restore, and would act for the trial"
    copied = sum(_bytes_below(f"{draft}/{name}") for name in ("layer", "volumes", "shm"))
    if copied > COPIED_BYTES:
        return f"it would copy {copied / 1e9:.1f} GB of files, and at most {COPIED_BYTES / 1e9:.1f} GB are"
    if copied * 2 > _free_bytes(draft):
        return (
            f"it would copy {copied / 1e9:.1f} GB of files, more than half of what the cache's disk has left"
        )
    filled = CRIU_BYTES + _bytes_below(f"{draft}/images")
    free = memory.available()
    if free is None or filled * MEMORY_SHARE > free:
        return (
            f"it would take {filled / 1e6:.0f} MB of memory, more than a half of the "
            f"{(free or 0) / 1e6:.0f} MB that this node has to give"
        )
    return ""


def _bytes_below(directory: str) -> int:
    return sum(
        os.lstat(f"{parent}/{name}").st_blocks * 512
        for parent, _, names in os.walk(directory)
        for name in names
    )


def _free_bytes(directory: str) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def _task(work: "Work", subject: "Subject", draft: str, taken: "Frozen") -> Task:
    """Raises ContainerdError, LayerError."""
    mounted = overlay.of_upper(subject.upper)
    return Task(
        container=subject.record.id,
        cache=work.config.cache,
        draft=draft,
        spec=subject.spec,
        runc=work.config.runc,
        criu=work.config.criu,
        network=f"/proc/{subject.init}/ns/net",
        lowers=_lowers(work.containerd, subject),
        features=tuple(sorted(mounted.features)) if mounted else (),
        is_shared=mounted is not None and mounted.is_shared,
        shm=subject.shm,
        processes=tuple(one.to_json() for one in taken.processes),
        deadline_s=work.config.restore_deadline_s,
    )


def _lowers(containerd: "Containerd", subject: "Subject") -> tuple[str, ...]:
    for mount in containerd.rootfs_mounts(subject.record):
        for option in mount.options:
            if option.startswith("lowerdir="):
                return tuple(option.removeprefix("lowerdir=").split(":"))
    raise LayerError("the container's rootfs has no image below it")


def _tried(task: Task, container: str) -> Answer:
    """In a process of its own; all of it is undone in the end. Raises GlowplugError, OSError."""
    undo(container)
    with subprocess.Popen(
        [sys.executable, "-m", "glowplug.restore.trial", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        try:
            said, _ = child.communicate(json.dumps(asdict(task)).encode(), task.deadline_s + GRACE_S)
        except subprocess.TimeoutExpired:
            return Answer("deadline", f"it was not done after {task.deadline_s + GRACE_S:g} s")
        finally:
            child.kill()
            child.wait()
            undo(container)
    try:
        reported: Mapping[str, object] = json.loads(said)
        return Answer(**reported)  # type: ignore[arg-type]  # written by Answer's own fields
    except (ValueError, TypeError):
        return Answer("killed", f"its process ended with status {child.returncode} and no answer")


def undo(container: str) -> None:
    """What is left of a trial of this captured container goes. Raises GlowplugError, OSError, TimeoutError."""
    left = attempt.adopt(paths.trial_id(container), take_back.LOCK_WAIT_S)
    if left is not None:
        try:
            take_back.take_back(left, create_follows=False)
        finally:
            left.release()
