"""How a process learns that it was restored: a file in its container, there before it runs, and a signal.

A process that continues from a checkpoint has the random state, the tokens and the names of the one that was
captured, and so have all others from the same checkpoint. The file has what is this start's own.
"""

from __future__ import annotations

import os
import time

from glowplug import jsontext
from glowplug.checkpoint.bundle import OWN_ANNOTATIONS
from glowplug.host import process
from glowplug.layer import beneath

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Iterable

    from glowplug.checkpoint.bundle import BundleFacts

DIRECTORY = "/run/glowplug"
NAME = "restored"
SIGNAL = f"{OWN_ANNOTATIONS}restored-signal"


def write_file(rootfs: str, facts: BundleFacts, addresses: Iterable[str] = ()) -> bool:
    """The file, readable by the user that the process was started as. `addresses`: the new pod's. Raises OSError.

    False, and nothing is written, where a volume or tmpfs is over /run: what is in it is not the rootfs's.
    """
    if _is_mounted_over(facts):
        return False
    content = {
        "generation": os.urandom(16).hex(),
        "random": os.urandom(32).hex(),
        "restored_at": int(time.time()),
        "pod": {**_pod(facts), "addresses": list(addresses)},
    }
    directory = _directory(rootfs)
    try:
        aside = f"{NAME}.{content['generation']}"
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400, dir_fd=directory)
        with open(fd, "w") as file:
            file.write(jsontext.dumps(content) + "\n")
            os.fchown(fd, facts.uid, facts.gid)
            os.fchmod(fd, 0o400)
        os.rename(aside, NAME, src_dir_fd=directory, dst_dir_fd=directory)
    finally:
        os.close(directory)
    return True


def _pod(facts: BundleFacts) -> dict[str, str]:
    """Who the process is now: its variables and arguments are the captured pod's (docs/matching.md, rule 3.3)."""
    return {"name": facts.sandbox_name, "namespace": facts.sandbox_namespace, "uid": facts.sandbox_uid}


def signal_of(facts: BundleFacts) -> int | None:
    """The signal that the pod wants sent to a restored process; None for none, and for what is no signal."""
    own = f"{SIGNAL}.{facts.container_name}"
    name = facts.annotations.get(own, facts.annotations.get(SIGNAL, "")).strip()
    if not name:
        return None
    import signal  # few ask for one

    found = signal.Signals.__members__.get(f"SIG{name.removeprefix('SIG')}")
    return None if found is None else int(found)


def send_signal(init: int, number: int) -> None:
    """To the container's first process (host pid), if it has a handler: without one, most signals would end it."""
    if process.handles(init, number):
        os.kill(init, number)


def _directory(rootfs: str) -> int:
    """A descriptor of /run/glowplug in the container; made where it is not there, whatever our umask."""
    for path in ("/run", DIRECTORY):
        try:
            beneath.mkdir(rootfs, path, 0o755)
        except FileExistsError:
            continue
        made = beneath.open_beneath(rootfs, path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fchmod(made, 0o755)
        finally:
            os.close(made)
    return beneath.open_beneath(rootfs, DIRECTORY, os.O_RDONLY | os.O_DIRECTORY)


def _is_mounted_over(facts: BundleFacts) -> bool:
    places = [os.path.normpath(mount.destination) for mount in facts.mounts]
    return any(place in ("/run", "/var/run") or f"{place}/".startswith(f"{DIRECTORY}/") for place in places)
