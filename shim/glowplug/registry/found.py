"""An artifact in a registry, as far as it is known before its blobs are pulled."""

from dataclasses import dataclass

from glowplug.registry.config import Config
from glowplug.registry.oci import Artifact


@dataclass(frozen=True, slots=True)
class Found:
    """An artifact that may be taken in, as far as can be said without its blobs."""

    namespace: str
    digest: str
    artifact: Artifact
    config: Config
