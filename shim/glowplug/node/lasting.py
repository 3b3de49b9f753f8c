"""A file of a Kubernetes distribution by a name that the distribution's next upgrade keeps.

    k3s        /var/lib/rancher/k3s/data/DIGEST/bin          data/current is a link to DIGEST
    RKE2       /var/lib/rancher/rke2/data/VERSION/bin        /var/lib/rancher/rke2/bin is a link to that bin
    MicroK8s   /snap/microk8s/REVISION, /var/snap/microk8s/REVISION      current is a link to REVISION

A running process shows the first one, of a directory that goes with an upgrade or the next but one.
"""

import os

CURRENT = "current"
DATA = "data"


def lasting(path: str) -> str:
    """The same file through the distribution's link; the path itself where there is no such link."""
    parts = path.split("/")
    for place in range(1, len(parts) - 1):
        above, behind = parts[:place], parts[place + 1 :]
        candidates = [[*above, CURRENT, *behind]]
        if above[-1] == DATA:
            candidates.append([*above[:-1], *behind])
        for candidate in candidates:
            if _is_same("/".join(candidate), path):
                return "/".join(candidate)
    return path


def _is_same(path: str, other: str) -> bool:
    try:
        return path != other and os.path.samefile(path, other)
    except OSError:
        return False
