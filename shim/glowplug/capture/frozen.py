"""The time in which the container is paused: dump, writable layer, shared memory, one moment for all.

Whatever happens in here, the container is thawed on the way out; a death of ours is what guard.py is for.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from glowplug import known_errors
from glowplug.capture.guard import Guard
from glowplug.capture.real_user import Ids
from glowplug.capture.runc import Runc
from glowplug.capture.timing import measured
from glowplug.criu import config
from glowplug.errors import CriuError, UsageError
from glowplug.host import interrupts, proc

DUMP_DEADLINE_S = 600.0
POLL_S = 0.005


@contextmanager
def frozen(runc: Runc, container: str, scratch: str, phases: dict[str, float]) -> Iterator[Guard]:
    """Freeze the container, thaw it on the way out. Raises RuncError where it can't be frozen. Notes in `phases` how
    long each took, in seconds.

    UsageError for one that somebody else froze: it is theirs to thaw.
    """
    status = runc.status(container)
    if status != "running":
        raise UsageError(f"container {container} is {status}: only a running one can be captured")
    with Guard(runc.program, runc.root, container, scratch) as guard:
        try:
            with measured(phases, "freeze.pause"), interrupts.deferred():
                runc.pause(container)
            yield guard
        finally:
            _wait_for(guard.dump)
            with measured(phases, "freeze.thaw"):
                if runc.status(container) == "paused":
                    runc.resume(container)
            guard.thawed()


def dump(
    runc: Runc,
    container: str,
    images: str,
    scratch: str,
    guard: Guard,
    watched: tuple[str, ...],
    ids: Ids | None,
    max_pause_s: float | None = None,
    external: tuple[str, ...] = (),
) -> None:
    """`runc checkpoint` into `images`; CRIU's log stays in `scratch`. Raises CriuError with its last errors.

    external: mount points that CRIU leaves alone. max_pause_s: CRIU gives up a process that does not stop within it,
    in full seconds.
    """
    options = f"{scratch}/criu.conf"
    with open(options, "w") as file:
        file.write(config.dump(watched, min(config.SEIZE_S, max_pause_s or config.SEIZE_S), external))
    os.makedirs(images, 0o700, exist_ok=True)
    with interrupts.deferred():
        child = runc.start_checkpoint(container, images, scratch, options, ids)
        guard.watch(child)
    _wait_for(child)
    if child.returncode != 0:
        log = f"{scratch}/dump.log"
        if not os.path.exists(log):
            raise CriuError(f"the container can't be dumped: {runc.last_error(scratch)}")
        said = config.log_errors(log)
        meaning = known_errors.explained(said, sources=config.log_sources(log))
        raise CriuError(f"the container can't be dumped: {_holder(said)}{meaning}")


def _holder(said: str) -> str:
    """`process 4711 (nginx): ` where CRIU says which one it was at."""
    pid = known_errors.process(said)
    return f"process {pid} ({proc.name(pid)}): " if pid else ""


def _wait_for(child: subprocess.Popen[bytes] | None) -> None:
    """To the end of the dump, also when we are being interrupted: CRIU in mid-work holds the tasks."""
    if child is None:
        return
    until = time.monotonic() + DUMP_DEADLINE_S
    while child.poll() is None:
        if time.monotonic() > until:
            child.kill()
            child.wait()
            raise CriuError(f"the dump was not done after {DUMP_DEADLINE_S:g} s and was killed")
        time.sleep(POLL_S)
