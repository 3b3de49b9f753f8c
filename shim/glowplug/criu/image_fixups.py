"""A fresh dump made fit for another pod, and what its restore has to know, kept beside the images.

Connections to the outside, whose other ends will not be there, become closed ones (sockets.py); of the cgroups
only the root of a namespace stays (cgroups.py).
"""

from __future__ import annotations

import os

from glowplug import jsontext
from glowplug.errors import ImageError

TYPE_CHECKING = False  # the import of typing takes 3 ms and more of a start
if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "image-fixups.json"


class ImageFixups:
    """`addresses`: the old pod's, to which sockets are bound: each needs one of the new pod's in its place.
    `cgroup_namespace`: the processes have one of their own (see `config.restore`). `places`: of the addresses the
    interface, and which one of its family there; of checkpoints of an older Glowplug none."""

    __slots__ = ("addresses", "cgroup_namespace", "places")

    def __init__(
        self, addresses: tuple[str, ...], cgroup_namespace: bool, places: Mapping[str, tuple[str, int]]
    ) -> None:
        self.addresses = addresses
        self.cgroup_namespace = cgroup_namespace
        self.places = places


def apply(images_dir: str, places: Mapping[str, tuple[str, int]]) -> ImageFixups:
    """Called once on a fresh dump, which it changes. places: of the pod's addresses. Raises ImageError, OSError."""
    from glowplug.criu import cgroups, sockets  # a restore only reads

    bound = sockets.apply(images_dir)
    own = {address: places[address] for address in bound if address in places}
    found = ImageFixups(tuple(own), cgroups.apply(images_dir), own)
    with open(os.path.join(images_dir, NAME), "w", encoding="ascii") as file:
        file.write(jsontext.dumps({name: getattr(found, name) for name in ImageFixups.__slots__}))
    return found


def read(images_dir: str) -> ImageFixups:
    """What `apply` found. Raises ImageError."""
    try:
        with open(os.path.join(images_dir, NAME), encoding="ascii") as file:
            reported = jsontext.loads(file.read())
        if not isinstance(reported, dict):
            raise TypeError(f"expected an object, got {type(reported).__name__}")
        places = {str(at): (str(name), int(nth)) for at, (name, nth) in reported.get("places", {}).items()}
        return ImageFixups(tuple(map(str, reported["addresses"])), bool(reported["cgroup_namespace"]), places)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImageError(f"{NAME} beside the images can't be read: {error}") from error
