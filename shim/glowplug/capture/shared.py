"""Files of the pod's /dev/shm that a capture takes along. In a checkpoint they are in shm/: `tree` holds the files,
`index.json` the links (see capture/links.py).

The tmpfs is the pod's, not the container's. Where no other container of the pod runs, all in it is this one's, also
what nobody has open at the moment (a cache, a segment between two uses). Else only what its processes have open is.
"""

import json
import os

from glowplug.capture.subject import Subject
from glowplug.containerd.client import Containerd
from glowplug.containerd.records import KIND_LABEL, POD_NAME_LABEL, POD_NAMESPACE_LABEL
from glowplug.layer import shm


def capture(containerd: Containerd, subject: Subject, into: str, links: list[tuple[str, str]]) -> None:
    """Copy them into `into`/shm; the container is frozen. Raises LayerError, ContainerdError."""
    if not subject.shm:
        return
    names = shm.all_files(subject.shm) if _is_alone(containerd, subject) else None
    if names is None:
        names = shm.open_files(subject.pids, subject.shm)
    if not names:
        return
    os.makedirs(f"{into}/shm", 0o700)
    shm.capture(subject.shm, names, f"{into}/shm/tree")
    with open(f"{into}/shm/index.json", "w") as file:
        json.dump({"links": links}, file)


def _is_alone(containerd: Containerd, subject: Subject) -> bool:
    """Whether no other container of its pod has a process."""
    facts = subject.facts
    labels = {
        KIND_LABEL: "container",
        POD_NAMESPACE_LABEL: facts.sandbox_namespace,
        POD_NAME_LABEL: facts.sandbox_name,
    }
    for record in containerd.containers(labels):
        if record.id == subject.record.id or (record.cri and record.cri.sandbox_id != facts.sandbox_id):
            continue
        task = containerd.task(record.id)
        if task is not None and task.status != "stopped":
            return False
    return True
