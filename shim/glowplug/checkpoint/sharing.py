"""Whose checkpoints a pod takes besides those of its own namespace: sharing needs both sides (rule 7.1).

The owner of a checkpoint offers it with glowplug.dev/share: cluster at the capture. That alone serves nobody: who
takes it runs its memory, with its own service account and volumes. So the pod asks for it by namespace (`ACCEPT`), or
the node's administrator says for it who takes whose (`sharing` in the node's configuration).
"""

import re
from collections.abc import Mapping

from glowplug.checkpoint.bundle import OWN_ANNOTATIONS

ACCEPT = OWN_ANNOTATIONS + "accept"
ANY = "*"

_NAMESPACE = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_PAIR = re.compile(rf"({_NAMESPACE}):(\*|{_NAMESPACE}(?:,{_NAMESPACE})*)")
FORM = 'pairs FROM:TO[,TO…] with spaces between, such as "models:team-a,team-b base:*"'


def accepted(annotations: Mapping[str, str], sharing: str, namespace: str) -> frozenset[str]:
    """The other namespaces whose shared checkpoints a pod of this one takes.

    `sharing`: the node's setting, in the form `FORM`; what does not have it is left out, and so are wildcards in a
    pod's annotation: nobody takes just anybody's memory.
    """
    names = set(annotations.get(ACCEPT, "").replace(",", " ").split())
    names |= {giver for giver, takers in _pairs(sharing) if namespace in takers or ANY in takers}
    return frozenset(name for name in names if re.fullmatch(_NAMESPACE, name) and name != namespace)


def is_well_formed(sharing: str) -> bool:
    """Whether a node's setting is wholly understood."""
    return len(_pairs(sharing)) == len(sharing.split())


def _pairs(sharing: str) -> list[tuple[str, list[str]]]:
    found = map(_PAIR.fullmatch, sharing.split())
    return [(pair[1], pair[2].split(",")) for pair in found if pair]
