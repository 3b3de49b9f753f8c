"""What a pod, or else the node, wants of the registry: push, pull, both, or neither."""

from collections.abc import Mapping

from glowplug.checkpoint.bundle import OWN_ANNOTATIONS
from glowplug.registry.settings import POLICIES, RegistrySettings

ANNOTATION = OWN_ANNOTATIONS + "registry"


def of(settings: RegistrySettings, annotations: Mapping[str, str]) -> str:
    """off, push, pull or both: what the pod says, else the node. A word that is none of these is off."""
    if not settings.is_configured:
        return "off"
    said = annotations.get(ANNOTATION, settings.policy)
    return said if said in POLICIES else "off"


def may_leave(settings: RegistrySettings, annotations: Mapping[str, str]) -> bool:
    """Whether a checkpoint of the pod may be passed to a registry, or to other nodes."""
    return of(settings, annotations) in ("push", "both")


def may_come(settings: RegistrySettings, annotations: Mapping[str, str]) -> bool:
    """Whether a checkpoint may be taken in for the pod."""
    return of(settings, annotations) in ("pull", "both")
