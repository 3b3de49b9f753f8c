"""Hard links that CRIU's images ask for, each with the place whose files travel and have another name of the file.

A place is the writable layer ("") or a mount point whose files a checkpoint carries. CRIU takes the links away at
the end of its dump (see criu/link_remap.py), so a restore makes them again from the other name.
"""

from collections.abc import Iterable

from glowplug.capture.subject import Subject
from glowplug.checkpoint.mounts import Classified
from glowplug.criu import link_remap
from glowplug.errors import LayerError
from glowplug.layer import names
from glowplug.layer.shm import DESTINATION

LAYER = ""
Links = dict[str, list[tuple[str, str]]]
"""Place → (a name below it that the file has, the name to make below it)."""


def of(subject: Subject, images: str, carried: Iterable[Classified]) -> Links:
    """The container is frozen, its images are in `images`. `carried`: the volumes that travel.

    Raises LayerError, ImageError.
    """
    files: dict[str, list[tuple[str, names.Inode]]] = {}
    mounted = [mount.destination for mount in subject.facts.mounts]
    for path, inode in link_remap.links(images, subject.pids):
        place = _holder(path, mounted)
        files.setdefault(place, []).append((path.removeprefix(place).lstrip("/"), inode))
    places = _places(subject, carried)
    return {place: _in_place(place, places.get(place), found) for place, found in files.items()}


def _holder(path: str, mounted: list[str]) -> str:
    """The mount point that a path is below, LAYER where there is none."""
    above = [point for point in mounted if path.startswith(f"{point.rstrip('/')}/")]
    return max(above, key=len, default=LAYER)


def _places(subject: Subject, carried: Iterable[Classified]) -> dict[str, tuple[str, str]]:
    """Of each place: its directory on the host, and where inode numbers are as the container sees them."""
    found = {mount.destination: (mount.source, mount.source) for mount in carried}
    if subject.shm:
        found[DESTINATION] = subject.shm, subject.shm
    found[LAYER] = subject.upper, f"/proc/{subject.init}/root"
    return found


def _in_place(
    place: str, known: tuple[str, str] | None, files: list[tuple[str, names.Inode]]
) -> list[tuple[str, str]]:
    if known is None:
        path = f"{place}/{files[0][0]}"
        raise LayerError(
            f"a file that lay at {path} was removed while it is open, on the volume {place}, which does not travel "
            "with a checkpoint: close it before the capture"
        )
    known_names = names.of_inodes(*known, {inode for _, inode in files})
    for name, inode in files:
        if inode not in known_names:
            raise LayerError(
                f"the open file {place}/{name} was removed, and no other name of it could be found: close it before "
                "the capture"
            )
    return [(known_names[inode], name) for name, inode in files]
