"""What a checkpoint has for the new pod's own directories: files of /dev/shm, and volumes that travel with a container.

Used by the runtime: standard library only.
"""

from __future__ import annotations

import os

from glowplug import jsontext
from glowplug.errors import LayerError
from glowplug.layer import carried, shm
from glowplug.restore import charged

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from glowplug.checkpoint.bundle import BundleFacts
    from glowplug.restore.attempt import Attempt


def begin_shared_memory(attempt: Attempt, checkpoint: str, into: str) -> charged.Charged | None:
    """Begin to put the files of /dev/shm there; None where there are none.

    checkpoint: its directory. into: the pod's /dev/shm, on the host. Raises OSError, ValueError.
    """
    source = f"{checkpoint}/shm/tree"
    if not os.path.isdir(source):
        return None
    with open(f"{checkpoint}/shm/index.json") as file:
        index = jsontext.loads(file.read())
    links = index["links"] if isinstance(index, dict) else ()
    return charged.Charged(attempt, lambda: shm.apply(source, into, attempt.shm_record, links))


def volumes(attempt: Attempt, checkpoint: str, facts: BundleFacts) -> None:
    """checkpoint: its directory. facts: of the spec that mounts them. Raises LayerError, OSError, ValueError."""
    index = f"{checkpoint}/volumes/index.json"
    if not os.path.exists(index):
        return
    with open(index) as file:
        found = jsontext.loads(file.read())
    listed = found if isinstance(found, list) else []

    def fill() -> None:
        for number, volume in enumerate(listed):
            carried.apply(
                f"{checkpoint}/volumes/{number}/tree",
                _source_of(facts, volume["destination"]),
                attempt.volume_record(number),
                replace=volume["replace"],
                fingerprint=volume["fingerprint"],
                links=volume["links"],
            )

    if listed:
        charged.in_pod(attempt, fill)


def _source_of(facts: BundleFacts, destination: str) -> str:
    """What the new spec mounts there, a directory of the host."""
    for mount in facts.mounts:
        if os.path.normpath(mount.destination) == destination:
            return mount.source
    raise LayerError(f"the new container has no volume at {destination}")
