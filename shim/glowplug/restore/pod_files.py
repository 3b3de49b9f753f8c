"""What a checkpoint has for the new pod's own directories: files of /dev/shm, and volumes that travel with a container.

Used by the runtime: standard library only.
"""

from __future__ import annotations

import os

from glowplug import jsontext
from glowplug.errors import LayerError
from glowplug.layer import carried, shm
from glowplug.restore import charged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from glowplug.restore.attempt import Attempt


def shared_memory(attempt: Attempt, checkpoint: str, into: str) -> None:
    """checkpoint: its directory. into: the pod's /dev/shm, on the host. Raises LayerError, OSError, ValueError."""
    source = f"{checkpoint}/shm/tree"
    if not os.path.isdir(source):
        return
    with open(f"{checkpoint}/shm/index.json") as file:
        index = jsontext.loads(file.read())
    links = index["links"] if isinstance(index, dict) else ()
    charged.in_pod(attempt, lambda: shm.apply(source, into, attempt.shm_record, links))


def volumes(attempt: Attempt, checkpoint: str, spec: dict[str, object]) -> None:
    """checkpoint: its directory. spec: mounts them. Raises LayerError, OSError, ValueError."""
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
                _source_of(spec, volume["destination"]),
                attempt.volume_record(number),
                replace=volume["replace"],
                fingerprint=volume["fingerprint"],
                links=volume["links"],
            )

    if listed:
        charged.in_pod(attempt, fill)


def _source_of(spec: dict[str, object], destination: str) -> str:
    """What the new spec mounts there, a directory of the host."""
    mounts = spec.get("mounts")
    for mount in mounts if isinstance(mounts, list) else []:
        if os.path.normpath(mount["destination"]) == destination:
            return str(mount["source"])
    raise LayerError(f"the new container has no volume at {destination}")
