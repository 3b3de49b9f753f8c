"""`delete` of a container that we restored, or began to: our own files go first, then runc deletes.

An exit of a restored container is worth a line in the spool: one that ends at once speaks against its
checkpoint, unless it was to.
"""

import contextlib
import os

from glowplug import paths
from glowplug.host import removal
from glowplug.outcomes import report
from glowplug.restore import marker
from glowplug.runtime import take_back
from glowplug.runtime.argv import Command
from glowplug.runtime.status import RUNC


def run(_runc: str, command: Command) -> int:
    """Always over to runc, whose delete must find what it knows; idempotent, as containerd calls it twice.

    What is removed is our directory in the bundle that the marker, or the attempt, names: no argument says where.
    """
    take_back.abandoned_in("", command.container)
    found = marker.read(command.root, command.container)
    if found is None:
        return RUNC
    report.append(
        {
            "container_id": command.container,
            "event": "exit",
            "checkpoint": found.checkpoint,
            "ran_s": found.age_s,
            "stopped": os.path.exists(paths.stopped(command.root, command.container)),
        }
    )
    if found.bundle:
        removal.remove_tree(paths.restore_bundle(found.bundle))
    with contextlib.suppress(OSError):
        os.unlink(paths.marker(command.root, command.container))
    return RUNC
