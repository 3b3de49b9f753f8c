"""The OCI manifest of an artifact, and of what goes with it: signatures, provenance, indexes of referrers. No I/O."""

import base64
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from glowplug.errors import RegistryError, RegistryMiss
from glowplug.registry import config, names
from glowplug.registry.config import Config

LIMIT = 4 << 20
"""Bytes of a manifest that a registry takes (distribution-spec)."""

EMPTY = b"{}"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob: its media type, digest, and size in bytes."""

    type: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Artifact:
    """The manifest of a checkpoint: config, index, packs in the index's order, annotations."""

    config: Descriptor
    index: Descriptor
    packs: tuple[Descriptor, ...]
    annotations: Mapping[str, str]

    @property
    def bytes(self) -> int:
        """Of all blobs, as they are stored."""
        return self.index.size + sum(pack.size for pack in self.packs)

    @property
    def pushed(self) -> float:
        """When it was pushed, seconds since the epoch: what is older than one seen before is a replay."""
        return float(self.annotations[names.PUSHED])

    @property
    def tags(self) -> tuple[str, str, str]:
        """The tags that may lead to it: its own, its workload's for a class of hosts, its workload's."""
        key = self.annotations[names.KEY]
        return (
            names.checkpoint_tag(self.annotations[names.CHECKPOINT]),
            names.host_tag(key, self.annotations[names.HOST_CLASS]),
            names.key_tag(key),
        )


def annotations(found: Config, pushed: float) -> dict[str, str]:
    """What the manifest says of itself, and the signature repeats."""
    return {
        names.CHECKPOINT: found.checkpoint,
        names.CREATED: found.created,
        names.NAMESPACE: found.namespace,
        names.KEY: found.key,
        names.HOST_CLASS: names.host_class(found.requirements),
        names.PUSHED: f"{pushed:.6f}",
    }


def dumps(found: Artifact) -> bytes:
    """The manifest's bytes. Raises RegistryError where registries would not take them."""
    plain = {
        "schemaVersion": 2,
        "mediaType": names.MANIFEST_TYPE,
        "artifactType": names.ARTIFACT_TYPE,
        "config": _plain(found.config),
        "layers": [_plain(found.index), *(_plain(pack) for pack in found.packs)],
        "annotations": dict(found.annotations),
    }
    data = _dumped(plain)
    if len(data) > LIMIT:
        raise RegistryError(
            f"a manifest of {len(found.packs)} packs is larger than the {LIMIT} bytes that registries take"
        )
    return data


def loads(data: bytes) -> Artifact:
    """The manifest. Raises RegistryMiss for what is none of ours."""
    plain: dict[str, Any] = _object(data)
    kind = plain.get("artifactType")
    if kind != names.ARTIFACT_TYPE:
        raise RegistryMiss(
            "not-ours", f"the manifest's artifactType is {str(kind)[:80]!r}, not {names.ARTIFACT_TYPE}"
        )
    try:
        layers = [_descriptor(layer) for layer in plain["layers"]]
        said = {str(name): str(value) for name, value in plain["annotations"].items()}
        found = Artifact(_descriptor(plain["config"]), layers[0], tuple(layers[1:]), said)
        if not math.isfinite(found.pushed) or not all(
            said[name] for name in (names.NAMESPACE, names.CHECKPOINT)
        ):
            raise ValueError("no moment, namespace or checkpoint")
        _ = found.tags
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise RegistryMiss("damaged", f"the manifest is of another form ({type(error).__name__})") from error
    sealed = found.index.type == names.INDEX_SEALED
    wanted = names.PACK_SEALED if sealed else names.PACK_PLAIN
    if found.index.type not in (names.INDEX_SEALED, names.INDEX_PLAIN) or any(
        one.type != wanted for one in found.packs
    ):
        raise RegistryMiss("damaged", "the manifest's layers are not an index and its packs")
    return found


def require_agreement(found: Artifact, said: Config) -> None:
    """Raises RegistryMiss unless manifest and config say the same of the checkpoint."""
    if dict(found.annotations) != annotations(said, found.pushed) | {
        names.PUSHED: found.annotations[names.PUSHED]
    }:
        raise RegistryMiss("damaged", "the manifest's annotations are not those of its config")
    if said.is_sealed != (found.index.type == names.INDEX_SEALED):
        raise RegistryMiss("damaged", "the manifest's media types are not those of its config")


def signature_manifest(payloads: Iterable[tuple[Descriptor, str]], empty_config: Descriptor) -> bytes:
    """As cosign keeps signatures: a layer for each payload, its signature in an annotation."""
    layers = [
        {**_plain(layer), "annotations": {names.COSIGN_SIGNATURE: signature}} for layer, signature in payloads
    ]
    return _dumped(
        {
            "schemaVersion": 2,
            "mediaType": names.MANIFEST_TYPE,
            "config": _plain(empty_config),
            "layers": layers,
        }
    )


def signatures(data: bytes) -> list[tuple[Descriptor, str]]:
    """The payloads of a signature manifest with their signatures; those of another form are left out."""
    try:
        layers = _object(data)["layers"]
        assert isinstance(layers, list)
        return [
            (_descriptor(layer), str(layer["annotations"][names.COSIGN_SIGNATURE]))
            for layer in layers
            if layer.get("mediaType") == names.SIGNATURE_LAYER_TYPE
        ]
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError):
        return []


def signature_config(payloads: Iterable[Descriptor]) -> bytes:
    """The config that cosign's reader expects: that of an image whose layers are the payloads."""
    return _dumped(
        {
            "architecture": "",
            "config": {},
            "created": "0001-01-01T00:00:00Z",
            "history": [],
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": [payload.digest for payload in payloads]},
        }
    )


def provenance_manifest(subject: Descriptor, said: Descriptor, empty: Descriptor) -> bytes:
    """An artifact that refers to a checkpoint's manifest and says what it was built from."""
    return _dumped(
        {
            "schemaVersion": 2,
            "mediaType": names.MANIFEST_TYPE,
            "artifactType": names.PROVENANCE_TYPE,
            "config": _plain(empty),
            "layers": [_plain(said)],
            "subject": _plain(subject),
        }
    )


def referrers_index(entries: Iterable[Mapping[str, object]]) -> bytes:
    """The index of a manifest's referrers, for registries without the API."""
    return _dumped(
        {"schemaVersion": 2, "mediaType": names.INDEX_OF_MANIFESTS_TYPE, "manifests": list(entries)}
    )


def referrers(data: bytes) -> list[dict[str, object]]:
    """What an index of referrers lists. Raises RegistryMiss."""
    listed = _object(data).get("manifests")
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []


def of_blob(kind: str, content: bytes) -> Descriptor:
    """The descriptor of content."""
    return Descriptor(kind, names.digest(content), len(content))


def config_of(data: bytes, descriptor: Descriptor) -> Config:
    """The config whose bytes were fetched for a descriptor. Raises RegistryMiss."""
    if descriptor.type != names.CONFIG_TYPE or names.digest(data) != descriptor.digest:
        raise RegistryMiss("damaged", "the artifact's config is not the one that its manifest names")
    return config.loads(data)


def plain(descriptor: Descriptor) -> dict[str, object]:
    """A descriptor as JSON has it."""
    return _plain(descriptor)


def _plain(descriptor: Descriptor) -> dict[str, object]:
    said: dict[str, object] = {
        "mediaType": descriptor.type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    }
    if descriptor.type == names.EMPTY_TYPE:
        said["data"] = base64.b64encode(EMPTY).decode()
    return said


def _descriptor(value: object) -> Descriptor:
    if not isinstance(value, dict) or not names.is_digest(value.get("digest")):
        raise ValueError("no descriptor")
    size, kind = value.get("size"), value.get("mediaType")
    if type(size) is not int or size < 0 or not isinstance(kind, str):
        raise ValueError("no descriptor")
    return Descriptor(kind, value["digest"], size)


def _object(data: bytes) -> dict[str, object]:
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RegistryMiss("damaged", "the manifest is not JSON") from error
    if not isinstance(plain, dict):
        raise RegistryMiss("damaged", "the manifest is not a JSON object")
    return plain


def _dumped(plain: Mapping[str, object]) -> bytes:
    return json.dumps(plain, separators=(",", ":")).encode()
