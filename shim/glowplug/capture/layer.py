"""The writable layer of a capture, and what a restore has to know of it besides.

In a checkpoint it lies in layer/: `tree` holds the files in overlay's own terms, and `index.json` their
fingerprint and the links: hard links that CRIU's images ask for (see criu/remaps.py) and that CRIU took away
again at the end of its dump, each as [a name in the tree, the path to make].
"""

import json
import os

from glowplug.capture.subject import Subject
from glowplug.criu import remaps
from glowplug.errors import LayerError
from glowplug.layer import names, tree


def capture(subject: Subject, into: str) -> tree.Summary:
    """Copy the layer into `into`/layer; the container is frozen, its images are in `into`/images.

    Raises LayerError.
    """
    os.makedirs(f"{into}/layer", 0o700)
    summary = tree.capture(subject.upper, f"{into}/layer/tree")
    index = {"fingerprint": summary.fingerprint, "links": _links(subject, f"{into}/images")}
    with open(f"{into}/layer/index.json", "w") as file:
        json.dump(index, file)
    return summary


def _links(subject: Subject, images: str) -> list[tuple[str, str]]:
    wanted = remaps.links(images, subject.pids)
    if not wanted:
        return []
    known = names.of_inodes(subject.upper, f"/proc/{subject.init}/root", {inode for _, inode in wanted})
    for path, inode in wanted:
        if inode not in known:
            raise LayerError(
                f"wanted another name of the removed, open file {path} in the writable layer, found none: "
                "close it before the capture"
            )
    return [(known[inode], path.lstrip("/")) for path, inode in wanted]
