"""A container that was started under our handler, and whether the agent is to capture it.

`look` reads what containerd knows; `against` decides by the pod's annotations and the node's settings.
"""

import os
from dataclasses import dataclass

from glowplug import paths, presets
from glowplug.capture import identity, judged, policy, since_start
from glowplug.capture.policy import BadAnnotation, Policy
from glowplug.checkpoint import bundle
from glowplug.checkpoint.bundle import OWN_ANNOTATIONS, BundleFacts
from glowplug.checkpoint.judgement import Judgement
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.containerd.records import ContainerRecord
from glowplug.errors import CaptureRefused, HostError


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
        """The container's id."""
        return self.record.id


def of(config: Config, record: ContainerRecord) -> Candidate | None:
    """None for what is none of ours. `started` is not known yet. Raises BundleError."""
    if record.is_sandbox or not record.is_of_our_handler:
        return None
    root = identity.runc_root(config, record)
    facts = _facts(root, record)
    if facts.container_type != "container":
        return None
    return Candidate(
        record=record,
        facts=facts,
        runc_root=root,
        started=None,
        restored=os.path.exists(paths.marker(root, record.id)),
    )


def _facts(root: str, record: ContainerRecord) -> BundleFacts:
    """Of its bundle; of containerd's record where it has none (any more)."""
    try:
        return judged.facts_of(root, record.id)
    except HostError:
        return bundle.read(record.spec)


def policy_of(candidate: Candidate, config: Config) -> Policy:
    """What its pod wants. Raises CaptureRefused for annotations that can't be understood."""
    try:
        return policy.of(candidate.facts, policy.when(config.capture), presets.known(config.presets))
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
            "no-readiness-check",
            f"nothing says when it is ready: set {OWN_ANNOTATIONS}{policy.READY}, such as http://:8000/health",
        )


def identify(
    containerd: Containerd, candidate: Candidate, pid: int, salt: bytes, config: Config
) -> Judgement:
    """What was decided at its start. `pid`: of its first process.

    Raises CaptureRefused where it is not eligible or nobody knows, ContainerdError, HostError.
    """
    spec = judged.spec_of(candidate.runc_root, candidate.id)
    extras = presets.extras(config.presets, candidate.facts)
    judgement = since_start.judgement(containerd, candidate.record, spec, salt, pid, extras)
    for slug, sentence in judgement.objections():
        raise CaptureRefused(slug, sentence)
    return judgement
