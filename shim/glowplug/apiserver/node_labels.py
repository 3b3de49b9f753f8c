"""What a node says of itself to schedulers, as labels: its handler, its driver, and for which images it is warm.

    glowplug.dev/handler   "true" from the first time that the handler was active; only an uninstall removes it.
                           A RuntimeClass may select by it: the kubelet admits running pods again when it starts, and
                           ends those whose node lacks a label that they select by
    glowplug.dev/ready     "true" or "false": the handler is active in containerd, or is not. To look at, and for
                           affinities that only prefer; an agent that stops does not change it

The workload key itself is no use to a scheduler: it is salted, and made of what only the node sees. What can be
known before there is a pod is its namespace and its image; so that is what a label stands for, as a hash:

    workload.glowplug.dev/HASH    HASH = the first 16 hexadecimal digits of sha256("NAMESPACE/IMAGE")

It says that a checkpoint is here, not that it will match.
"""

import hashlib
from collections.abc import Iterable, Mapping

HANDLER = "glowplug.dev/handler"
READY = "glowplug.dev/ready"
DRIVER = "glowplug.dev/driver"
WORKLOAD = "workload.glowplug.dev/"
LONGEST = 40
"""Workloads that get a label, the latest used first: a node's labels are read by every scheduler and kubelet."""

_HASH_DIGITS = 16


def workload(namespace: str, image: str) -> str:
    """The label of one workload."""
    return WORKLOAD + hashlib.sha256(f"{namespace}/{image}".encode()).hexdigest()[:_HASH_DIGITS]


def wanted(active: bool | None, driver: str | None, workloads: Iterable[tuple[str, str]]) -> dict[str, str]:
    """All labels of ours. `workloads`: (namespace, image) of each usable checkpoint, the latest used first.

    `active`: whether containerd has the handler; None: not known, and the labels that say so stay as they are.
    """
    labels = {} if active is None else {READY: "true" if active else "false"}
    if active:
        labels[HANDLER] = "true"
    if driver:
        labels[DRIVER] = driver
    names = dict.fromkeys(workload(namespace, image) for namespace, image in workloads)
    return labels | dict.fromkeys(list(names)[:LONGEST], "true")


def changes(there: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, str | None]:
    """What to set, and with None what to remove, of those that follow what is on the node."""
    gone = {name: None for name in there if _follows(name) and name not in labels}
    return {**gone, **{name: value for name, value in labels.items() if there.get(name) != value}}


def removal(there: Iterable[str]) -> dict[str, str | None]:
    """Every label of ours taken off: at an uninstall."""
    return {name: None for name in there if name in (HANDLER, READY) or _follows(name)}


def _follows(name: str) -> bool:
    """Not READY and HANDLER: while it is not known whether the handler is active, they stay."""
    return name == DRIVER or name.startswith(WORKLOAD)
