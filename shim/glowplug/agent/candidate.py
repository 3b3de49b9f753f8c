"""A container that was started under our handler, and whether the agent is to capture it.

`look` reads what containerd knows; `against` decides by the pod's annotations and the node's settings.
"""

import os
import time
from dataclasses import dataclass

from glowplug import paths
from glowplug.agent import policy
from glowplug.agent.newcomers import Newcomers
from glowplug.agent.policy import BadAnnotation, Policy
from glowplug.capture import identity, judged, since_start
from glowplug.checkpoint import bundle
from glowplug.checkpoint.bundle import OWN_ANNOTATIONS, BundleFacts
from glowplug.checkpoint.judgement import Judgement
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.containerd.records import ContainerRecord
from glowplug.containerd.rpc import NotFound
from glowplug.errors import CaptureRefused


@dataclass(frozen=True, slots=True)
class Candidate:
    """`started`: when, in time.monotonic() seconds; None where the agent saw it only later. `restored`: it came from
    a checkpoint."""

    record: ContainerRecord
    facts: BundleFacts
    runc_root: str
    started: float | None
    restored: bool

    @property
    def id(self) -> str:
        return self.record.id


def look(newcomers: Newcomers, config: Config, container: str, started_at: float | None) -> Candidate | None:
    """None for what is none of ours, or gone. `started_at`: Unix time. Raises ContainerdError, BundleError."""
    try:
        record = newcomers.take(container)
    except NotFound:
        return None
    if record.is_sandbox or not record.is_of_our_handler:
        return None
    facts = bundle.read(dict(record.spec))
    if facts.container_type != "container":
        return None
    root = identity.runc_root(config, record)
    return Candidate(
        record=record,
        facts=facts,
        runc_root=root,
        started=None if started_at is None else time.monotonic() - max(0.0, time.time() - started_at),
        restored=os.path.exists(paths.marker(root, container)),
    )


def asked(candidate: Candidate, config: Config) -> Policy:
    """What its pod wants. Raises CaptureRefused for annotations that can't be understood."""
    try:
        return policy.of(candidate.facts, policy.when(config.capture))
    except BadAnnotation as error:
        raise CaptureRefused("bad-annotation", str(error)) from None


def require_wanted(candidate: Candidate, wanted: Policy, config: Config) -> None:
    """Raises CaptureRefused with the first thing that speaks against a capture, before anything is looked up."""
    if config.mode == "off":
        raise CaptureRefused("off", "the node's configuration turns Glowplug off (mode)")
    if wanted.when == "never":
        raise CaptureRefused(
            "never", f"{OWN_ANNOTATIONS}{policy.CAPTURE} or the node's configuration says never"
        )
    if wanted.ready is None:
        raise CaptureRefused(
            "no-ready",
            f"nothing says when it is ready: set {OWN_ANNOTATIONS}{policy.READY}, such as http://:8000/health",
        )


def identify(containerd: Containerd, candidate: Candidate, salt: bytes) -> Judgement:
    """What was decided at its start. Raises CaptureRefused where it is not eligible or nobody knows, ContainerdError,
    HostError."""
    spec = judged.spec_of(candidate.runc_root, candidate.id)
    task = containerd.task(candidate.id)
    if task is None:
        raise CaptureRefused("ended", "the container has ended")
    found = since_start.judgement(containerd, candidate.record, spec, salt, task.pid)
    for slug, sentence in found.objections():
        raise CaptureRefused(slug, sentence)
    return found
