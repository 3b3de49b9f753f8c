"""The config of an artifact: what a node may know of a checkpoint before a blob of it is pulled. No I/O.

It says whose the checkpoint is, of which workload, what it needs of a host, how large it is, and for whom the content
key is wrapped. Names of pods and nodes, variables, processes and files are in the encrypted index alone.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from glowplug.checkpoint.manifest import Manifest, Sizes
from glowplug.checkpoint.manifest_schema import MANIFEST
from glowplug.checkpoint.requirements import HostRequirements
from glowplug.checkpoint.schema import check
from glowplug.errors import ManifestError, RegistryMiss
from glowplug.registry import names
from glowplug.registry.seal import Wrapped

VERSION = 1
LIMIT = 4 << 20

_HEX_64 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_OF_MANIFEST: Mapping[str, Any] = MANIFEST["properties"]  # type: ignore[assignment]
_CONFIG: Mapping[str, object] = {
    "type": "object",
    "required": [
        "version",
        "checkpoint",
        "created",
        "namespace",
        "container",
        "image",
        "key",
        "requirements",
        "sizes",
    ],
    "properties": {
        "version": {"type": "integer", "minimum": 1},
        "checkpoint": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "created": _OF_MANIFEST["created"],
        "namespace": {"type": "string"},
        "container": {"type": "string"},
        "image": {"type": "string"},
        "key": _HEX_64,
        "requirements": _OF_MANIFEST["requirements"],
        "sizes": _OF_MANIFEST["sizes"],
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "recipients": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["recipient", "ephemeral", "wrapped"],
                "properties": {
                    "recipient": _HEX_64,
                    "ephemeral": _HEX_64,
                    "wrapped": {"type": "string", "pattern": "^[0-9a-f]{96}$"},
                },
            },
        },
    },
}


@dataclass(frozen=True, slots=True)
class Config:
    """`key`: digest of the workload key; `recipients`: none where it is plain; `labels`: for `glowplug warm`."""

    checkpoint: str
    created: str
    namespace: str
    container: str
    image: str
    key: str
    requirements: HostRequirements
    sizes: Sizes
    labels: Mapping[str, str]
    recipients: tuple[Wrapped, ...]

    @property
    def is_sealed(self) -> bool:
        """Whether the blobs are encrypted."""
        return bool(self.recipients)

    @property
    def bound_to(self) -> bytes:
        """What the index is bound to, so that it opens in this artifact alone."""
        return f"{self.namespace}\0{self.key}\0{self.checkpoint}".encode()


def of(
    checkpoint: str, manifest: Manifest, recipients: tuple[Wrapped, ...], labels: Mapping[str, str]
) -> Config:
    """The config of a checkpoint."""
    return Config(
        checkpoint=checkpoint,
        created=manifest.created,
        namespace=manifest.namespace,
        container=manifest.container,
        image=manifest.image_name,
        key=manifest.key.digest,
        requirements=manifest.requirements,
        sizes=manifest.sizes,
        labels=labels,
        recipients=recipients,
    )


def dumps(found: Config) -> bytes:
    """The config as JSON."""
    plain = asdict(found) | {
        "version": VERSION,
        "labels": dict(found.labels),
        "recipients": [
            {name: getattr(one, name).hex() for name in ("recipient", "ephemeral", "wrapped")}
            for one in found.recipients
        ],
    }
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


def loads(data: bytes) -> Config:
    """The config. Raises RegistryMiss for anything else, `newer-artifact` where a newer Glowplug made it."""
    try:
        plain = json.loads(data)
        version = plain["version"] if isinstance(plain, dict) and "version" in plain else None
        if type(version) is int and version > VERSION:
            raise RegistryMiss(
                "newer-artifact", f"an artifact of version {version}: a newer Glowplug made it"
            )
        check(_CONFIG, plain, "config")
        needs: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in plain["requirements"].items()
        }
        found = Config(
            checkpoint=plain["checkpoint"],
            created=plain["created"],
            namespace=plain["namespace"],
            container=plain["container"],
            image=plain["image"],
            key=plain["key"],
            requirements=HostRequirements(**needs),
            sizes=Sizes(**plain["sizes"]),
            labels=plain.get("labels", {}),
            recipients=tuple(_wrapped(one) for one in plain.get("recipients", ())),
        )
    except (ValueError, TypeError, ManifestError, RecursionError) as error:
        raise RegistryMiss("damaged", f"the artifact's config is of another form: {error}"[:300]) from error
    if not names.is_namespace(found.namespace):
        raise RegistryMiss("damaged", "the artifact's config names no Kubernetes namespace")
    return found


def _wrapped(plain: Mapping[str, str]) -> Wrapped:
    return Wrapped(*(bytes.fromhex(plain[name]) for name in ("recipient", "ephemeral", "wrapped")))
