"""A capture under way: what each of its steps leaves for the next ones."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from glowplug.cache.draft import Draft
from glowplug.cache.store import Store
from glowplug.capture.real_user import Ids
from glowplug.capture.request import Report, Request, Result
from glowplug.capture.subject import Subject
from glowplug.capture.unix_names import Names
from glowplug.checkpoint.judgement import Judgement
from glowplug.checkpoint.process_state import State
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.host.process import Credentials
from glowplug.layer import tree

CANARY = "images/canary.json"
"""What the workload answered before its capture, beside CRIU's images: its digest is checked with theirs."""


@dataclass(slots=True)
class Work:
    """What all steps of a capture have."""

    config: Config
    request: Request
    containerd: Containerd
    store: Store
    report: Report
    open: ExitStack
    result: Result = field(default_factory=Result)


@dataclass(frozen=True, slots=True)
class Found:
    """The container, as it was found: it may be captured. `judgement`: of its start."""

    subject: Subject
    judgement: Judgement
    criu_version: tuple[int, int, int]
    own_settings: Mapping[int, dict[str, int]]
    ids: Ids | None


@dataclass(frozen=True, slots=True)
class Drafted:
    """Where its checkpoint is written, and what was looked up before the pause."""

    draft: Draft
    scratch: str
    watched: tuple[str, ...]
    addresses: Mapping[str, tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Frozen:
    """What was read of the paused container. `judgement`: with its volumes as they were then."""

    judgement: Judgement
    processes: list[Credentials]
    unix_names: Names
    state: State
    layer: tree.Summary
