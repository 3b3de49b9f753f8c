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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

DIRECTORY = "/run/glowplug"
NAME = "restored"
SIGNAL = f"{OWN_ANNOTATIONS}restored-signal"

_SANDBOX = "io.kubernetes.cri.sandbox-"
_CONTAINER_NAME = "io.kubernetes.cri.container-name"


def write(rootfs: str, spec: dict[str, object], addresses: Iterable[str] = ()) -> bool:
    """The file, readable by the user that the process was started as. `addresses`: the new pod's. Raises OSError.

    False, and nothing is written, where a volume or tmpfs is over /run: what is in it is not the rootfs's.
    """
    if _is_mounted_over(spec):
        return False
    content = {
        "generation": os.urandom(16).hex(),
        "random": os.urandom(32).hex(),
        "restored_at": int(time.time()),
        "pod": {**_pod(spec), "addresses": list(addresses)},
    }
    directory = _directory(rootfs)
    try:
        aside = f"{NAME}.{content['generation']}"
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400, dir_fd=directory)
        with open(fd, "w") as file:
            file.write(jsontext.dumps(content) + "\n")
            os.fchown(fd, *_user(spec))
            os.fchmod(fd, 0o400)
        os.rename(aside, NAME, src_dir_fd=directory, dst_dir_fd=directory)
    finally:
        os.close(directory)
    return True


def _pod(spec: dict[str, object]) -> dict[str, str]:
    """Who the process is now: its variables and arguments are the captured pod's (docs/matching.md, rule 3.3)."""
    annotations = spec.get("annotations")
    known = annotations if isinstance(annotations, dict) else {}
    return {name: str(known.get(f"{_SANDBOX}{name}", "")) for name in ("name", "namespace", "uid")}


def signal_of(spec: dict[str, object]) -> int | None:
    """The signal that the pod wants sent to a restored process; None for none, and for what is no signal."""
    annotations = spec.get("annotations")
    if not isinstance(annotations, dict):
        return None
    own = f"{SIGNAL}.{annotations.get(_CONTAINER_NAME)}"
    name = str(annotations.get(own, annotations.get(SIGNAL, ""))).strip()
    if not name:
        return None
    import signal  # few ask for one

    found = signal.Signals.__members__.get(f"SIG{name.removeprefix('SIG')}")
    return None if found is None else int(found)


def send(init: int, number: int) -> None:
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


def _is_mounted_over(spec: dict[str, object]) -> bool:
    mounts = spec.get("mounts")
    places = (
        [os.path.normpath(str(mount["destination"])) for mount in mounts] if isinstance(mounts, list) else []
    )
    return any(place in ("/run", "/var/run") or f"{place}/".startswith(f"{DIRECTORY}/") for place in places)


def _user(spec: dict[str, object]) -> tuple[int, int]:
    described = spec.get("process")
    user = described.get("user") if isinstance(described, dict) else None
    found = user if isinstance(user, dict) else {}
    return int(found.get("uid") or 0), int(found.get("gid") or 0)
