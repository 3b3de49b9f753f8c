"""What a node says of itself to schedulers, as labels: ready, its driver, and for which images it is warm.

The workload key itself is no use to a scheduler: it is salted, and made of what only the node sees. What can be
known before there is a pod is its namespace and its image; so that is what a label stands for, as a hash:

    workload.glowplug.dev/HASH    HASH = the first 16 hexadecimal digits of sha256("NAMESPACE/IMAGE")

It says that a checkpoint is here, not that it will match.
"""

import hashlib
from collections.abc import Iterable, Mapping

READY = "glowplug.dev/ready"
DRIVER = "glowplug.dev/driver"
WORKLOAD = "workload.glowplug.dev/"
LONGEST = 40
"""Workloads that are named, the latest used first: a node's labels are read by every scheduler and kubelet."""

_HASH_DIGITS = 16


def workload(namespace: str, image: str) -> str:
    """The label of one workload."""
    return WORKLOAD + hashlib.sha256(f"{namespace}/{image}".encode()).hexdigest()[:_HASH_DIGITS]


def wanted(ready: bool, driver: str | None, held: Iterable[tuple[str, str]]) -> dict[str, str]:
    """All labels of ours. `held`: (namespace, image) of each usable checkpoint, the latest used first."""
    labels = {READY: "true" if ready else "false"}
    if driver:
        labels[DRIVER] = driver
    names = dict.fromkeys(workload(namespace, image) for namespace, image in held)
    return labels | dict.fromkeys(list(names)[:LONGEST], "true")


def changes(there: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, str | None]:
    """What to set, and with None what to remove, of those that are ours."""
    gone = {name: None for name in there if _is_ours(name) and name not in labels}
    return {**gone, **{name: value for name, value in labels.items() if there.get(name) != value}}


def _is_ours(name: str) -> bool:
    return name in (READY, DRIVER) or name.startswith(WORKLOAD)
