"""The writable layer of a capture, and what a restore has to know of it besides.

In a checkpoint it is in layer/: `tree` holds the files in overlay's own terms, and `index.json` their
fingerprint and the links that CRIU's images ask for (see capture/links.py), each as [a name in the tree, the path
to make].
"""

import json
import os

from glowplug.capture.subject import Subject
from glowplug.layer import tree


def capture(subject: Subject, into: str, links: list[tuple[str, str]]) -> tree.Summary:
    """Copy the layer into `into`/layer; the container is frozen. Raises LayerError."""
    os.makedirs(f"{into}/layer", 0o700)
    summary = tree.capture(subject.upper, f"{into}/layer/tree")
    index = {"fingerprint": summary.fingerprint, "links": links}
    with open(f"{into}/layer/index.json", "w") as file:
        json.dump(index, file)
    return summary
