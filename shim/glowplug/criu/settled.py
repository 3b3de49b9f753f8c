"""A fresh dump made fit for another pod, and what its restore has to know, kept beside the images.

Connections to the outside, whose other ends will not be there, become closed ones (sockets.py); of the cgroups
only the root of a namespace stays (cgroups.py).
"""

import json
import os
from typing import NamedTuple

from glowplug.criu import cgroups, sockets
from glowplug.errors import ImageError

NAME = "settled.json"


class Settled(NamedTuple):
    """`addresses`: the old pod's, to which sockets are bound: each needs one of the new pod's in its place.
    `cgroup_namespace`: the processes have one of their own (see `config.restore`)."""

    addresses: tuple[str, ...]
    cgroup_namespace: bool


def settle(images_dir: str) -> Settled:
    """Called once on a fresh dump, which it changes. Raises ImageError, OSError."""
    found = Settled(sockets.settle(images_dir).addresses, cgroups.settle(images_dir))
    with open(os.path.join(images_dir, NAME), "w", encoding="ascii") as file:
        json.dump(found._asdict(), file)
    return found


def read(images_dir: str) -> Settled:
    """What `settle` found. Raises ImageError."""
    try:
        with open(os.path.join(images_dir, NAME), encoding="ascii") as file:
            told = json.load(file)
        return Settled(tuple(map(str, told["addresses"])), bool(told["cgroup_namespace"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImageError(f"wanted {NAME} beside the images, found: {error}") from error
