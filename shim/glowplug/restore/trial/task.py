"""What is to be tried: values that travel to the process that does it, and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from glowplug.checkpoint.oci import Spec


@dataclass(frozen=True, slots=True)
class Task:
    """`container`: the captured one. `draft`: the directory of what is to be a checkpoint. `spec`: of the container's
    bundle. `network`: the file of the captured pod's network namespace. `lowers`: the directories of its image, the
    uppermost first. `features`: of its overlay (layer/overlay.py). `is_shared`: whether what is mounted in it is seen
    in other namespaces. `shm`: the pod's /dev/shm on the host, or "".
    `processes`: the captured ones, as a manifest lists them. `deadline_s`: for all of it."""

    container: str
    cache: str
    draft: str
    spec: Spec = field(repr=False)
    runc: str
    criu: str
    network: str
    lowers: tuple[str, ...]
    features: tuple[str, ...]
    is_shared: bool
    shm: str
    processes: tuple[dict[str, Any], ...] = field(repr=False)
    deadline_s: float


def of(plain: Mapping[str, Any]) -> Task:
    """What was written as JSON values (dataclasses.asdict)."""
    lists = {name: tuple(plain[name]) for name in ("lowers", "features", "processes")}
    return Task(**{**plain, **lists})


@dataclass(frozen=True, slots=True)
class Answer:
    """`stage` and `detail` of what failed, "" where all of it reached the gate and was what it should be."""

    stage: str = ""
    detail: str = ""
