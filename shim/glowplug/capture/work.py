"""A capture under way: what its steps know, and leave for one another."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from glowplug.cache.draft import Draft
from glowplug.cache.store import Store
from glowplug.capture.real_user import Ids
from glowplug.capture.request import Report, Request, Result
from glowplug.capture.subject import Subject
from glowplug.capture.unix_names import Names
from glowplug.checkpoint.judgement import Judgement
from glowplug.config import Config
from glowplug.containerd.client import Containerd
from glowplug.host.process import Credentials
from glowplug.host.thread_probe import Probed
from glowplug.layer import tree

if TYPE_CHECKING:
    from glowplug.capture.gpu import Gpu  # and with it NVML

CANARY = "images/canary.json"
"""What the workload answered before its capture, beside CRIU's images: its digest is checked with theirs."""


@dataclass(slots=True)
class Work:
    """A capture under way: what each step leaves for the next ones."""

    config: Config
    request: Request
    containerd: Containerd
    store: Store
    report: Report
    open: ExitStack
    result: Result = field(default_factory=Result)
    criu_version: tuple[int, int, int] = (0, 0, 0)
    subject: Subject | None = None
    found: Judgement | None = None
    draft: Draft | None = None
    scratch: str = ""
    ids: Ids | None = None
    watched: tuple[str, ...] = ()
    unix_names: Names = field(default_factory=Names)
    addresses: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    state: dict[str, object] = field(default_factory=dict)
    probed: Probed | None = None
    own_settings: Mapping[int, dict[str, int]] = field(default_factory=dict)
    processes: list[Credentials] = field(default_factory=list)
    layer: tree.Summary | None = None
    gpu: "Gpu | None" = None
