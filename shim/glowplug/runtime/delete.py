"""`delete` of a container that we restored, or began to: our own files go first, then runc deletes.

An exit of a restored container is worth a line in the spool: one that ends at once speaks against its
checkpoint, unless it was told to.
"""

import contextlib
import os
import shutil
import time

from glowplug import paths
from glowplug.runtime import outcome, take_back
from glowplug.runtime.argv import Command
from glowplug.runtime.status import RUNC


def run(_runc: str, command: Command) -> int:
    """Always over to runc, whose delete must find what it knows; idempotent, as containerd calls it twice."""
    take_back.abandoned_in("", command.container)
    marker = paths.marker(command.root, command.container)
    with contextlib.suppress(OSError):
        restored = os.stat(marker).st_mtime
        with open(marker) as file:
            checkpoint = file.read()
        ran_s = round(time.time() - restored, 3)
        stopped = os.path.exists(paths.stopped(command.root, command.container))
        said = {"event": "exit", "checkpoint": checkpoint, "ran_s": ran_s, "stopped": stopped}
        outcome.append({"container_id": command.container, **said})
        os.unlink(marker)
    log = command.options.get("log")
    if log:
        shutil.rmtree(paths.restore_bundle(os.path.dirname(log)), ignore_errors=True)
    return RUNC
