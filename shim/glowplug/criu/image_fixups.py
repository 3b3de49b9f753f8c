"""A fresh dump made fit for another pod, and what its restore has to know, kept beside the images.

Connections to the outside, whose other ends will not be there, become closed ones (sockets.py); of the cgroups
only the root of a namespace stays (cgroups.py).
"""

import json
import os
from collections.abc import Mapping
from typing import NamedTuple

from glowplug.criu import cgroups, sockets
from glowplug.errors import ImageError

NAME = "image-fixups.json"


class ImageFixups(NamedTuple):
    """`addresses`: the old pod's, to which sockets are bound: each needs one of the new pod's in its place.
    `cgroup_namespace`: the processes have one of their own (see `config.restore`). `places`: of the addresses the
    interface, and which one of its family there; of checkpoints of an older Glowplug none."""

    addresses: tuple[str, ...]
    cgroup_namespace: bool
    places: Mapping[str, tuple[str, int]]


def apply(images_dir: str, places: Mapping[str, tuple[str, int]]) -> ImageFixups:
    """Called once on a fresh dump, which it changes. places: of the pod's addresses. Raises ImageError, OSError."""
    bound = sockets.apply(images_dir).addresses
    own = {address: places[address] for address in bound if address in places}
    found = ImageFixups(tuple(own), cgroups.apply(images_dir), own)
    with open(os.path.join(images_dir, NAME), "w", encoding="ascii") as file:
        json.dump(found._asdict(), file)
    return found


def read(images_dir: str) -> ImageFixups:
    """What `apply` found. Raises ImageError."""
    try:
        with open(os.path.join(images_dir, NAME), encoding="ascii") as file:
            reported = json.load(file)
        places = {str(at): (str(name), int(nth)) for at, (name, nth) in reported.get("places", {}).items()}
        return ImageFixups(tuple(map(str, reported["addresses"])), bool(reported["cgroup_namespace"]), places)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImageError(f"{NAME} beside the images can't be read: {error}") from error
